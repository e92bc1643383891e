"""Client of the ATM: JSON over HTTPS.

A call that moves money has one request id, however often it is sent. If no definite answer comes,
the error is OutcomeUnknown with that id. It is not a failure: only a call with the same id can tell
the outcome. Amounts never pass through a float.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.parse
import uuid
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Any, Mapping

__all__ = ["Answer", "Client", "Error", "OutcomeUnknown", "Refused", "Unreachable"]

Amount = Decimal | int | str

_MOST = 8 << 20  # bytes of an answer

# What the server does not remember of a request id; "" is a refusal of what is no call.
_NOT_REMEMBERED = {"", "UNAVAILABLE", "INTERNAL", "PERMISSION_DENIED", "NOT_CONFIRMED",
                   "IDEMPOTENCY_CONFLICT", "FAULT"}


class Error(Exception):
    """What keeps a call from its result."""


class Refused(Error):
    """The server refused the call: nothing was carried out."""

    def __init__(self, code: str, reason: str, receipt: str, status: int) -> None:
        super().__init__(reason)
        self.code, self.reason, self.receipt, self.status = code, reason, receipt, status


class Unreachable(Error):
    """No server answered, and nothing can have been carried out."""


class OutcomeUnknown(Error):
    """Money may have moved: ask again with this request id."""

    def __init__(self, request_id: str, cause: str) -> None:
        again = f"; ask again with request id {request_id}" if request_id else ""
        super().__init__(f"the outcome is unknown ({cause}){again}")
        self.request_id = request_id


@dataclass(frozen=True)
class Answer:
    """The answer to a call that was carried out."""

    result: Any
    receipt: str


class Client:
    """Calls a server. It is for one thread at a time."""

    def __init__(self, server: str, *, ca: str, cert: str | None = None, key: str | None = None,
                 token: str | None = None, timeout: float = 30, tries: int = 4) -> None:
        url = urllib.parse.urlsplit(server)
        if url.scheme != "https" or not url.hostname:
            raise ValueError("the server is a URL such as https://localhost:9000")
        if (cert is None) == (token is None):
            raise ValueError("sign in with a certificate or a token")
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if cert is not None:
            context.load_cert_chain(cert, key)
        self._http = http.client.HTTPSConnection(url.hostname, url.port or 443, timeout=timeout,
                                                 context=context)
        self._token, self._tries = token, tries

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection. The next call opens another one."""
        self._http.close()

    def inquiry(self, account: int) -> Decimal:
        """Tells the balance of an account."""
        return Decimal(self.call("inquiry", {"account": account}).result)

    def deposit(self, account: int, amount: Amount, *, memo: str | None = None,
                request_id: str | None = None) -> Answer:
        """Puts money into an account."""
        return self._move("deposit", {"account": account, "amount": amount, "memo": memo}, request_id)

    def withdraw(self, account: int, amount: Amount, *, memo: str | None = None,
                 request_id: str | None = None) -> Answer:
        """Takes money out of an account."""
        return self._move("withdraw", {"account": account, "amount": amount, "memo": memo}, request_id)

    def transfer(self, source: int, to: int, amount: Amount, *, memo: str | None = None,
                 request_id: str | None = None) -> Answer:
        """Moves money to another account."""
        return self._move("transfer", {"from": source, "to": to, "amount": amount, "memo": memo},
                          request_id)

    def _move(self, method: str, params: Mapping[str, Any], request_id: str | None) -> Answer:
        return self.call(method, params, request_id=request_id or str(uuid.uuid4()))

    def call(self, method: str, params: Mapping[str, Any] | None = None, *,
             request_id: str | None = None) -> Answer:
        """Calls any method with its named arguments.

        With a request id it is sent again if no answer comes; without one it is sent once.
        """
        body = json.dumps({name: _plain(value) for name, value in (params or {}).items()
                           if value is not None}).encode()
        headers = {"Content-Type": "application/json"}
        if request_id is not None:
            headers["Idempotency-Key"] = _quoted(request_id)
        if self._token is not None:
            headers["Authorization"] = "Bearer " + self._token
        cause = ""
        tries = self._tries if request_id is not None else 1
        for attempt in range(tries):
            if attempt > 0:
                time.sleep(min(0.1 * 2 ** attempt, 2))
            try:
                self._connect()
            except OSError as error:
                if not cause:
                    raise Unreachable(str(error)) from error
                continue
            try:
                self._http.request("POST", "/v1/" + urllib.parse.quote(method), body, headers)
                response = self._http.getresponse()
                text = response.read(_MOST + 1)
            except (OSError, http.client.HTTPException) as error:
                self._http.close()
                cause = str(error) or type(error).__name__
                continue
            answer = _dict(response, text)
            if answer.get("code") == "OUTCOME_UNKNOWN":
                cause = str(answer.get("reason"))
                continue
            if response.status == 200 and answer.get("code") == "OK":
                return Answer(answer["result"], str(answer["receipt"]))
            if cause and answer.get("code", "") in _NOT_REMEMBERED:
                continue  # says nothing of the try before
            raise Refused(str(answer.get("code", "")), str(answer.get("reason", "")),
                          str(answer.get("receipt", "")), response.status)
        raise OutcomeUnknown(request_id or "", cause)

    def _connect(self) -> None:
        if self._http.sock is None:
            self._http.connect()


def _dict(response: http.client.HTTPResponse, text: bytes) -> dict[str, Any]:
    """Reads a status dict; or the sentence that refuses what is no call."""
    if len(text) > _MOST:
        raise Error("the answer is too large")
    if response.headers.get_content_type() == "application/json":
        answer = json.loads(text, parse_float=Decimal)
        if isinstance(answer, dict):
            return answer
    return {"reason": text.decode("utf-8", "replace").strip()}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        raise TypeError("an amount is a Decimal, an int or a str, not a float")
    return format(value, "f") if isinstance(value, Decimal) else value


def _quoted(key: str) -> str:
    """Writes a string of structured fields (RFC 9651)."""
    if not all(" " <= c <= "~" for c in key):
        raise ValueError("a request id is printable ASCII")
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
