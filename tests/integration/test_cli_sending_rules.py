"""`blazz pacing`, `blazz opt-out`, `blazz webhook change` and `blazz api` against the HTTP API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from cli import pacing, raw_api, webhooks
from cli.exit_codes import Exit
from cli.options import Acting, Form, Target
from schemas.errors import BlazzError, ErrorCode
from schemas.pacing import PacingSettings
from schemas.webhooks import WebhookChange
from tests.integration.http_server import ALL_SCOPES, TENANT, Running, running

SURE = Acting(yes=True)
TRY = Acting(dry_run=True)
JSON = Target(output=Form.JSON)


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    # The server runs here too, and its log would be among what is printed.
    async with running() as served:
        monkeypatch.setenv("BLAZZ_API_URL", served.url)
        monkeypatch.setenv("BLAZZ_API_KEY", served.memory.access.new_key(TENANT, *ALL_SCOPES))
        with capture_logs():
            yield served


async def test_rules_change_one_by_one_and_go_back(
    api: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    session = await api.session()
    await pacing.set_pacing(JSON, SURE, session, ["per_minute=20", "stop-words=no,never"])
    await pacing.set_pacing(JSON, SURE, session, ["quiet_from=22:00"])
    capsys.readouterr()
    await pacing.set_pacing(JSON, TRY, session, ["per_minute=1"])
    assert f"would PUT /v1/sessions/{session}/pacing" in capsys.readouterr().out
    await pacing.show_pacing(JSON, session)
    told = json.loads(capsys.readouterr().out)
    assert {name: value for name, value in told["settings"].items() if value is not None} == {
        "per_minute": 20.0,
        "stop_words": ["no", "never"],
        "quiet_from": "22:00",
    }
    assert told["rules"]["per_minute"] == 20.0
    await pacing.set_pacing(Target(), SURE, session, ["per_minute=-", "enabled=false"])
    shown = capsys.readouterr().out
    assert "stop_words         no,never     set here" in shown
    assert "per_minute         30.0" in shown
    assert "enabled            no           set here" in shown
    # The tenant's own are another level.
    await pacing.set_pacing(JSON, SURE, None, ["cold_per_day=5"])
    assert json.loads(capsys.readouterr().out)["settings"]["cold_per_day"] == 5


@pytest.mark.parametrize("rules", [[], ["colour=blue"], ["per_minute"], ["per_minute=fast"]])
async def test_a_rule_that_is_none_is_refused_before_anything_is_changed(
    api: Running, rules: list[str]
) -> None:
    with pytest.raises(BlazzError) as refused:
        await pacing.set_pacing(Target(), SURE, None, rules)
    assert refused.value.code is ErrorCode.VALIDATION_FAILED
    assert pacing.changed(PacingSettings(), {"burst": "7"}).burst == 7


async def test_opt_outs_come_and_go(api: Running, capsys: pytest.CaptureFixture[str]) -> None:
    await pacing.add_opt_outs(Target(), TRY, ["+62 811 1111 1111"])
    assert "would POST /v1/opt-outs" in capsys.readouterr().out
    await pacing.add_opt_outs(Target(), SURE, ["+62 811 1111 1111", "628222222222@c.us"])
    capsys.readouterr()
    names = Target(output=Form.NAME)
    await pacing.list_opt_outs(names)
    assert capsys.readouterr().out.split() == ["6281111111111@c.us", "628222222222@c.us"]
    with pytest.raises(BlazzError, match="add --yes"):
        await pacing.remove_opt_outs(Target(), Acting(no_input=True), ["+6281111111111"])
    await pacing.remove_opt_outs(Target(), SURE, ["+62 811 1111 1111"])
    await pacing.list_opt_outs(names)
    assert capsys.readouterr().out.split() == ["628222222222@c.us"]


async def test_a_webhook_changes_and_keeps_the_rest(
    api: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    session = await api.session()
    made = await api.client.post(
        "/v1/webhooks",
        json={"url": "https://a.example/x", "events": ["message.*"], "sessions": [session]},
    )
    hook = made.json()["webhook_id"]

    def wanted(**fields: object) -> WebhookChange:
        given = {"url": None, "events": None, "sessions": None, "description": None}
        return webhooks.webhook_change(**(given | fields), all_sessions=False)  # type: ignore[arg-type]

    await webhooks.change(Target(), SURE, hook, wanted(url="https://b.example/y"))
    everything = webhooks.webhook_change(None, ["session.*"], None, None, all_sessions=True)
    await webhooks.change(Target(), SURE, hook, everything)
    told = (await api.client.get(f"/v1/webhooks/{hook}")).json()
    assert (told["url"], told["events"], told["sessions"]) == (
        "https://b.example/y",
        ["session.*"],
        [],
    )
    await webhooks.change(Target(), TRY, hook, wanted(description="till 3"))
    assert f'would PATCH /v1/webhooks/{hook} {{"description":"till 3"}}' in capsys.readouterr().out
    with pytest.raises(BlazzError, match="name what to change"):
        await webhooks.change(Target(), SURE, hook, wanted())


async def test_any_request_can_be_sent(api: Running, capsys: pytest.CaptureFixture[str]) -> None:
    async def ask(path: str, **said: object) -> Exit:
        given: dict[str, object] = {"method": None, "body": None, "query": ()}
        acting = said.pop("acting", SURE)
        return await raw_api.call(JSON, acting, path, **(given | said))  # type: ignore[arg-type]

    await ask("sessions", body='{"name": "shop"}')
    session = json.loads(capsys.readouterr().out)["session_id"]
    await ask("/v1/sessions", query=["limit=1"])
    assert json.loads(capsys.readouterr().out)["data"][0]["name"] == "shop"
    await ask(f"sessions/{session}", method="delete", acting=TRY)
    assert capsys.readouterr().out == f"would DELETE /v1/sessions/{session}\n"
    with pytest.raises(BlazzError, match="add --yes"):
        await ask(f"sessions/{session}", method="DELETE", acting=Acting(no_input=True))
    await ask(f"sessions/{session}", method="DELETE")
    with pytest.raises(BlazzError) as refused:
        await ask(f"sessions/{session}")
    assert refused.value.code is ErrorCode.SESSION_NOT_FOUND
    with pytest.raises(BlazzError, match="no JSON"):
        await ask("sessions", body="{")
