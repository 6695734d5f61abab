"""The OpenAPI description: what Litestar derives, completed from each route's `opt`.

Owns request bodies (exact, from the structs that decode them), error answers (from the table of
codes), other media types, security and examples. Never describes a route by hand.
"""

import copy
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Server, Tag
from litestar.routes import HTTPRoute

from control_plane.http import openapi_examples
from control_plane.http.auth import PUBLIC
from control_plane.http.problems import PROBLEM_JSON
from schemas.api import Problem
from schemas.api_messages import NewMessage
from schemas.errors import ERRORS, ErrorCode
from schemas.ids import EventId, MediaId, MessageId, SessionId, WebhookId
from schemas.pacing import PacingRules

_REF: Final = "#/components/schemas/{name}"
_ALWAYS: Final = (ErrorCode.INTERNAL,)
_BEHIND_THE_GUARD: Final = (
    ErrorCode.UNAUTHENTICATED,
    ErrorCode.FORBIDDEN,
    ErrorCode.RATE_LIMITED,
)
_PATH_PARAMETERS: Final = {
    "session_id": msgspec.json.schema(SessionId),
    "message_id": msgspec.json.schema(MessageId),
    "chat_id": {"type": "string", "description": "A chat id, or a person's phone number."},
    "phone": {"type": "string", "description": "A phone number, as you would write it."},
    "media_id": {**msgspec.json.schema(MediaId), "description": "An upload."},
    "upload_id": {**msgspec.json.schema(MediaId), "description": "An upload in pieces."},
    "webhook_id": msgspec.json.schema(WebhookId),
    "event_id": msgspec.json.schema(EventId),
}
_DESCRIPTION: Final = """\
Link WhatsApp accounts, send and receive over HTTP.

Send your key as `Authorization: Bearer blz_…` or `X-Api-Key`. Errors are RFC 9457 problems with a
stable `code`; all codes are on [/docs/errors](/docs/errors). Lists answer
`{data, has_more, next_cursor}`. Times are Unix seconds.
"""
_TAGS: Final = (
    ("Sessions", "A session is one linked WhatsApp account and what keeps it online."),
    ("Linking a phone", "QR codes, pairing codes and pages for people without an API key."),
    ("Messages", "Every accepted message ends exactly once: sent, failed or unknown."),
    ("Media", "Uploads for messages; they expire after a day."),
    ("Chats and contacts", "Read and done at once on an online session's account."),
    ("Profile", "The account's own name, about text and picture."),
    ("Sending", "What waits to be sent and why, what could not be sent, and how fast to send."),
    ("Events", "What happens, as it happens."),
    ("Webhooks", "Events sent to your server, signed as Standard Webhooks says."),
    ("API keys", "Keys, their scopes and their end."),
    ("Tenant", "Your own settings."),
    ("Audit", "Who did what: every act of operators and key owners."),
    ("Fleet", "Nodes and all tenants' sessions, for operators."),
    ("Probes", "For load balancers and Prometheus."),
)


def config(version: str) -> OpenAPIConfig:
    """Litestar's half: parameters and answers, from the handlers' signatures."""
    return OpenAPIConfig(
        title="Blazz",
        version=version,
        description=_DESCRIPTION,
        servers=[Server(url="/")],
        tags=[Tag(name=name, description=text) for name, text in _TAGS],
        # Litestar insists on serving it too; ours at /openapi.json is the complete one.
        path="/docs/raw",
        render_plugins=[JsonRenderPlugin()],
    )


def describe(app: Litestar) -> dict[str, Any]:
    """The whole OpenAPI 3.1 document."""
    document: dict[str, Any] = copy.deepcopy(app.openapi_schema.to_schema())
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "Your API key."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    }
    bodies = _opts(app)
    kinds = {opt["body"] for opt in bodies.values() if opt.get("body") not in (None, bytes)}
    _, own = msgspec.json.schema_components((*kinds, Problem, PacingRules), ref_template=_REF)
    # Where both describe a struct, the one that decodes requests is right; so it is for tuples.
    schemas.update(own)
    for name, example in openapi_examples.BODIES.items():
        schemas[name]["examples"] = [example]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            _complete(operation, bodies[(path, method)])
    return document


def _opts(app: Litestar) -> dict[tuple[str, str], dict[str, Any]]:
    """Each documented operation's `opt`, by path and method."""
    return {
        (route.path_format, method.lower()): dict(handler.opt)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
    }


def _complete(operation: dict[str, Any], opt: dict[str, Any]) -> None:
    public = opt.get("access") == PUBLIC
    operation["security"] = [] if public else [{"bearer": []}, {"apiKey": []}]
    if not public:
        scope = f"Needs the scope `{opt['access']}`."
        operation["description"] = f"{operation.get('description', '')}\n\n{scope}".strip()
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path" and parameter["name"] in _PATH_PARAMETERS:
            parameter["schema"] = dict(_PATH_PARAMETERS[parameter["name"]])
            parameter["description"] = parameter["schema"].pop("description")
    if body := opt.get("body"):
        operation["requestBody"] = _request_body(body)
    responses = operation.setdefault("responses", {})
    # Litestar's own guess of a 400; ours are below.
    responses.pop("400", None)
    if media := opt.get("media"):
        _other_media(responses, media)
    codes = (*opt.get("problems", ()), *_ALWAYS, *(() if public else _BEHIND_THE_GUARD))
    by_http: dict[int, list[ErrorCode]] = {}
    for code in dict.fromkeys(codes):
        by_http.setdefault(ERRORS[code].http, []).append(code)
    for http, names in sorted(by_http.items()):
        responses[str(http)] = _problem_response(http, names)


def _request_body(kind: Any) -> dict[str, Any]:
    if kind is bytes:
        return {"required": True, "content": {"*/*": {"schema": {"format": "binary"}}}}
    schema = {"$ref": _REF.format(name=kind.__name__)}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if kind is NewMessage:
        content["application/json"]["examples"] = {
            name: {"summary": name, "value": example}
            for name, example in openapi_examples.MESSAGES.items()
        }
        text = {"type": "string"}
        names = ("to", "text", "caption", "kind", "reply_to", "media_id")
        properties: dict[str, Any] = dict.fromkeys(names, text)
        properties["file"] = {"type": "string", "contentMediaType": "application/octet-stream"}
        form = {
            "type": "object",
            "properties": properties,
            "required": ["to"],
            "additionalProperties": False,
        }
        content["multipart/form-data"] = {"schema": form}
    # All its fields have defaults: the body may be left out.
    required = any(field.required for field in msgspec.structs.fields(kind))
    return {"required": required, "content": content}


def _other_media(responses: dict[str, Any], media: tuple[str, ...]) -> None:
    good = next(answer for http, answer in responses.items() if http.startswith("2"))
    if media != ("image/svg+xml", "image/png", "text/plain"):
        good["content"] = {}
    for name in media:
        binary = name.startswith(("image/png", "application/"))
        schema = {"contentMediaType": name} if binary else {"type": "string"}
        good.setdefault("content", {})[name] = {"schema": schema}


def _problem_response(http: int, codes: list[ErrorCode]) -> dict[str, Any]:
    lines = [f"- [`{code}`](/docs/errors#{code}): {ERRORS[code].title}." for code in codes]
    spec = ERRORS[codes[0]]
    example = Problem(
        type=f"/docs/errors#{codes[0]}",
        title=spec.title,
        status=http,
        code=codes[0],
        mend=spec.mend,
        retryable=spec.retryable,
        request_id="req_5f0c9e3ab2d14c7786aa01f2",
    )
    content = {
        "schema": {"$ref": _REF.format(name="Problem")},
        "example": msgspec.to_builtins(example),
    }
    answer: dict[str, Any] = {"description": "\n".join(lines), "content": {PROBLEM_JSON: content}}
    if http in (429, 503) and any(ERRORS[code].retryable for code in codes):
        answer["headers"] = {
            "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}
        }
    return answer
