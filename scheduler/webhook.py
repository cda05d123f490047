"""Floor 3 · Notices posted to a program of the operator's: each once, as JSON."""

from __future__ import annotations

from urllib3 import PoolManager, Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from scheduler.explain import Said
from scheduler.ledger import Outgoing
from scheduler.post import NotDelivered, Unsure
from scheduler.turns import Turn

CONNECTED_WITHIN_S, ANSWERED_WITHIN_S = 3.0, 5.0
TAKEN, BUSY, OUR_FAULT = range(200, 300), 429, 500


class Webhook:
    """Delivers to one address. `timezone` is that of the times in the texts."""

    def __init__(self, url: str, timezone: str) -> None:
        self._url, self._timezone = url, timezone
        self._pool = PoolManager(timeout=Timeout(connect=CONNECTED_WITHIN_S, read=ANSWERED_WITHIN_S), retries=False)

    def __call__(self, item: Outgoing, said: Said, turn: Turn | None) -> None:
        """Raises NotDelivered where it was not taken for certain, and Unsure where it may have been."""
        body = {
            "id": item.id, "what": said.what, "turn": turn and turn.id, "household": item.to,
            "site": turn and turn.site, "text": self._text(said, turn),
        }  # fmt: skip
        try:
            answer = self._pool.request("POST", self._url, json=body, redirect=False)
        except (NewConnectionError, ConnectTimeoutError) as away:
            raise NotDelivered(str(away)) from away
        except HTTPError as cut:
            raise Unsure(str(cut)) from cut
        if answer.status == BUSY or answer.status >= OUR_FAULT:
            raise NotDelivered(f"it answered {answer.status}")
        if answer.status not in TAKEN:
            raise Unsure(f"it answered {answer.status}")

    def _text(self, said: Said, turn: Turn | None) -> dict[str, str]:
        """What a person would read."""
        sentence = said.sentence(turn)
        try:
            return {"zh": sentence.text("zh", self._timezone), "en": sentence.text("en", self._timezone)}
        except KeyError:  # written by a version that kept no values with it
            return {}
