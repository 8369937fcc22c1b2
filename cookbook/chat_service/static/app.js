// The page: plain JavaScript, no build. What people and the model say is set as text, never as HTML.

const at = (id) => document.getElementById(id);
let thread = null; // the id of the thread that is shown
let stopping = null; // what aborts the answer that streams

async function call(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body ? JSON.stringify(body) : undefined,
  });
  if (!response.ok) throw await failure(response);
  return response.status === 204 ? null : response.json();
}

async function failure(response) {
  const told = await response.json().catch(() => ({}));
  return Object.assign(new Error(told.message ?? told.detail ?? `The service answered ${response.status}.`), told, {
    status: response.status,
  });
}

// -- threads ---------------------------------------------------------------------------------------------------------

async function showThreads() {
  const threads = await call("GET", "/api/threads");
  at("threads").replaceChildren(...threads.map(threadItem));
  markShown();
}

function markShown() {
  for (const item of at("threads").children) item.classList.toggle("shown", item.dataset.thread === thread);
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
  const messages = await call("GET", `/api/threads/${encodeURIComponent(id)}`);
  if (thread !== id) return; // another one was opened meanwhile
  for (const { role, text } of messages) addMessage(role, text);
}

async function deleteThread(id) {
  await call("DELETE", `/api/threads/${encodeURIComponent(id)}`);
  if (id === thread) newThread();
  await showThreads();
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
  item.scrollIntoView({ block: "end" });
  return item;
}

// -- an answer as it streams -----------------------------------------------------------------------------------------

async function say(text) {
  const asked = addMessage("user", text);
  stopping = new AbortController();
  busy(true);
  try {
    const response = await fetch(`/api/threads/${encodeURIComponent(thread)}/messages`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text }),
      signal: stopping.signal,
    });
    if (!response.ok) {
      asked.remove(); // it was refused and is stored nowhere; the text goes back to where it was typed
      at("say").text.value = text;
      throw await failure(response);
    }
    const answer = addMessage("assistant", "");
    for await (const { kind, data } of eventsOf(response)) {
      if (kind === "error") throw Object.assign(new Error(data.message), data);
      if (kind === "text") answer.textContent += data.text;
    }
  } catch (error) {
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
}

// -- what went wrong -------------------------------------------------------------------------------------------------

let countdown = null;

function showNotice(error) {
  clearInterval(countdown);
  const notice = at("notice");
  notice.hidden = false;
  notice.dataset.status = error.status ?? "";
  if (error.status === 402) {
    notice.textContent = "Your plan is used up. ";
    if (/^https?:/.test(error.upgrade_url ?? "")) {
      const link = document.createElement("a");
      link.href = error.upgrade_url;
      link.textContent = "Upgrade";
      notice.append(link);
    }
  } else if (error.status === 429) {
    countDown(Math.ceil(error.retry_after ?? 60));
  } else {
    notice.textContent = error.message + (error.trace_id ? ` (${error.trace_id})` : "");
  }
}

function countDown(seconds) {
  const notice = at("notice");
  at("send").disabled = true;
  const show = () => {
    notice.textContent = `Too many messages. You can send again in ${seconds} s.`;
    if (seconds-- > 0) return;
    hideNotice();
  };
  show();
  countdown = setInterval(show, 1000);
}

function hideNotice() {
  clearInterval(countdown);
  at("notice").hidden = true;
  at("send").disabled = false;
}

async function guarded(work) {
  hideNotice();
  try {
    await work();
  } catch (error) {
    if (error.status === 401) showSignIn();
    else showNotice(error);
  }
}

// -- signing in ------------------------------------------------------------------------------------------------------

function showSignIn() {
  at("chat").hidden = true;
  at("sign-in").hidden = false;
}

async function showChat({ name }) {
  at("user").textContent = name;
  at("sign-in").hidden = true;
  at("chat").hidden = false;
  newThread();
  await showThreads();
}

at("sign-in").onsubmit = (event) => {
  event.preventDefault();
  guarded(async () => showChat(await call("POST", "/api/sign-in", { name: event.target.elements.name.value })));
};
at("sign-out").onclick = () => guarded(async () => { await call("POST", "/api/sign-out"); showSignIn(); });
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
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    at("say").requestSubmit();
  }
};

guarded(async () => showChat(await call("GET", "/api/user")));
