// The page: plain JavaScript, no build. What people and the model say is set as text, never as HTML.

const at = (id) => document.getElementById(id);
let thread = null; // the id of the thread that is shown
let stopping = null; // what aborts the answer that streams

async function call(method, path, body, signal) {
  const response = await fetch(path, {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body ? JSON.stringify(body) : undefined,
    signal,
  });
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response) {
  const { message, detail, upgrade_url, retry_after, trace_id } = await response.json().catch(() => ({}));
  const said = message ?? (typeof detail === "string" ? detail : `The service answered ${response.status}.`);
  return Object.assign(new Error(said), { status: response.status, upgrade_url, retry_after, trace_id });
}

// -- threads ---------------------------------------------------------------------------------------------------------

async function showThreads() {
  const threads = await (await call("GET", "/api/threads")).json();
  at("threads").replaceChildren(...threads.map(threadItem));
  markShown();
}

function markShown() {
  for (const item of at("threads").children) {
    const shown = item.dataset.thread === thread;
    item.classList.toggle("shown", shown);
    item.firstChild.ariaCurrent = shown ? "true" : null;
  }
}

function threadItem({ id, title }) {
  const item = document.createElement("li");
  item.dataset.thread = id;
  const open = document.createElement("button");
  open.type = "button";
  open.textContent = title;
  open.onclick = () => guarded(() => openThread(id));
  const remove = document.createElement("button");
  remove.type = "button";
  remove.textContent = "×";
  remove.ariaLabel = `Delete ${title}`;
  remove.onclick = () => guarded(() => deleteThread(id));
  item.append(open, remove);
  return item;
}

async function openThread(id) {
  stopping?.abort();
  thread = id;
  markShown();
  at("messages").replaceChildren();
  const messages = await (await call("GET", `/api/threads/${encodeURIComponent(id)}`)).json();
  if (thread !== id) return; // another one was opened meanwhile
  for (const { role, text } of messages) addMessage(role, text);
}

async function deleteThread(id) {
  await call("DELETE", `/api/threads/${encodeURIComponent(id)}`);
  if (id === thread) newThread();
  await showThreads();
  at("new").focus(); // the button that was pressed is gone
}

function newThread() {
  stopping?.abort();
  thread = crypto.randomUUID();
  markShown();
  at("messages").replaceChildren();
  at("say").text.focus();
}

function addMessage(role, text) {
  const item = document.createElement("li");
  item.className = role;
  item.textContent = text;
  at("messages").append(item);
  at("messages").scrollTop = at("messages").scrollHeight;
  return item;
}

function extend(item, text) {
  const list = at("messages");
  const follows = list.scrollHeight - list.scrollTop - list.clientHeight < 40; // whoever has scrolled up reads there
  item.textContent += text;
  if (follows) list.scrollTop = list.scrollHeight;
}

// -- an answer as it streams -----------------------------------------------------------------------------------------

async function say(text) {
  const asked = addMessage("user", text);
  stopping = new AbortController();
  busy(true);
  try {
    const path = `/api/threads/${encodeURIComponent(thread)}/messages`;
    const response = await call("POST", path, { text }, stopping.signal);
    const answer = addMessage("assistant", "");
    for await (const { kind, data } of eventsOf(response)) {
      if (kind === "text") extend(answer, data.text);
      if (kind === "error") showNotice(data); // it broke off in the middle
    }
  } catch (error) {
    if (error.status) {
      asked.remove(); // it was refused and is stored nowhere; the text goes back to where it was typed
      at("say").text.value = text;
    }
    if (error.name !== "AbortError") throw error; // stopped: aborting the request ended the gateway's stream as well
  } finally {
    stopping = null;
    busy(false);
  }
  await showThreads();
}

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [, kind, data] = event.match(/^event: (\w+)\ndata: (.*)$/);
      yield { kind, data: JSON.parse(data) };
    }
  }
}

function busy(streams) {
  at("send").hidden = streams;
  at("stop").hidden = !streams;
  at("messages").ariaBusy = String(streams); // read aloud when it is whole
  if (!streams) at("say").text.focus();
}

// -- what went wrong -------------------------------------------------------------------------------------------------

let countdown = null;

function showNotice(error) {
  hideNotice();
  at("notice").hidden = false;
  if (error.status === 402) {
    at("notice").append("Your plan is used up. ");
    if (/^https?:/.test(error.upgrade_url ?? "")) {
      const link = document.createElement("a");
      link.href = error.upgrade_url;
      link.textContent = "Upgrade";
      at("notice").append(link);
    }
  } else if (error.status === 429) {
    countDown(Math.ceil(error.retry_after ?? 60));
  } else if (error instanceof TypeError) {
    at("notice").append("The service can't be reached. Please try again."); // what fetch says differs between browsers
  } else {
    at("notice").append(error.message + (error.trace_id ? ` (${error.trace_id})` : ""));
  }
}

function countDown(seconds) {
  const left = document.createElement("span");
  left.role = "timer"; // not read aloud every second
  at("notice").append("Too many messages. You can send again in ", left);
  at("send").disabled = true;
  const tick = () => {
    left.textContent = `${seconds} s.`;
    if (seconds-- <= 0) hideNotice();
  };
  countdown = setInterval(tick, 1000);
  tick();
}

function hideNotice() {
  clearInterval(countdown);
  countdown = null;
  at("notice").hidden = true;
  at("notice").replaceChildren();
  at("send").disabled = false;
}

async function guarded(work) {
  if (!countdown) hideNotice(); // a wait goes on in every thread
  try {
    await work();
  } catch (error) {
    if (error.status === 401) showSignIn();
    else showNotice(error);
  }
}

// -- signing in ------------------------------------------------------------------------------------------------------

function showSignIn() {
  stopping?.abort();
  hideNotice();
  at("chat").hidden = true;
  at("sign-in").hidden = false;
  at("sign-in").append(at("notice"));
  at("sign-in").elements.name.focus();
}

async function showChat({ name }) {
  at("user").textContent = name;
  at("sign-in").hidden = true;
  at("chat").hidden = false;
  at("say").before(at("notice"));
  newThread();
  await showThreads();
}

at("sign-in").onsubmit = (event) => {
  event.preventDefault();
  const { name } = event.target.elements;
  guarded(async () => showChat(await (await call("POST", "/api/sign-in", { name: name.value })).json()));
};
at("sign-out").onclick = () => guarded(async () => {
  await call("POST", "/api/sign-out");
  showSignIn();
});
at("new").onclick = newThread;
at("stop").onclick = () => stopping?.abort();
at("say").onsubmit = (event) => {
  event.preventDefault();
  const field = event.target.text;
  const text = field.value.trim();
  if (!text || stopping || at("send").disabled) return;
  field.value = "";
  guarded(() => say(text));
};
at("say").text.onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("say").requestSubmit();
  }
};

guarded(async () => showChat(await (await call("GET", "/api/user")).json()));
