"""The app under test: a support desk that answers in a thread, and says plainly when it can't."""

from __future__ import annotations

from behest_base import BehestQuotaError, BehestRateLimitError, BehestStreamError
from langchain_behest import ChatBehest

SYSTEM = "You answer questions of a shop's customers."


def answer(user_id: str, ticket: str, text: str) -> str:
    """Answer a customer in the thread of a ticket."""
    model = ChatBehest(user_id=user_id, thread_id=f"ticket-{ticket}")
    said = ""
    try:
        for chunk in model.stream([("system", SYSTEM), ("human", text)]):
            said += chunk.text
    except BehestQuotaError as error:
        return f"Your plan is used up. You can change it here: {error.upgrade_url}"
    except BehestRateLimitError as error:
        return f"We are busy. Please ask again in {error.retry_after:.0f} seconds."
    except BehestStreamError:
        return f"{said} … (the answer broke off; please ask again)"
    return said
