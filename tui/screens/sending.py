"""Screens of what did not arrive: dead letters, webhooks and their deliveries.

Own the way from a row to its act. Bodies are never shown.
"""

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import BindingType

from schemas.api_sending import DeadLetterView
from schemas.states import MessageState
from schemas.webhooks import DeliveryView, WebhookView
from tui.actions import DEAD, DELIVERIES, WEBHOOKS, bindings
from tui.acts import DeliveryRef, LetterRef, WebhookRef
from tui.desk import Desk
from tui.rows import dead_rows, webhook_rows, words
from tui.rows.cells import Row
from tui.rows.listing import Now
from tui.rows.raw import raw_json
from tui.screens.loaded import LoadedScreen
from tui.screens.plans import Plan, Target, carry_out

TENANTS_MAX = 50
"""Webhooks of so many tenants are asked for at once; name one for another."""


class DeadLettersScreen(LoadedScreen):
    """A session's."""

    VIEW = DEAD
    WORD = "DEAD LETTERS"
    EMPTY = "no dead letters: nothing failed"
    COLUMNS = dead_rows.COLUMNS
    SORTS = dead_rows.SORTS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(DEAD)]

    def __init__(self, desk: Desk, session_id: str) -> None:
        super().__init__(desk)
        self.session_id = session_id
        self._session = desk.session_ref(session_id)
        self._letters: dict[str, DeadLetterView] = {}

    async def load(self) -> None:
        """The newest page."""
        self._session = self._session or self.desk.session_ref(self.session_id)
        if self.desk.source is not None and self._session is not None:
            found = await self.desk.source.dead_letters(self._session)
            self._letters = {letter.message_id: letter for letter in found}

    def rows(self, now: Now) -> Sequence[Row]:
        """Of the last answer."""
        return [
            dead_rows.dead_row(letter, now.unix, show_phones=now.show_phones)
            for letter in self._letters.values()
        ]

    def title_words(self) -> str:
        """Whose."""
        return f"DEAD LETTERS of {words.short_id(self.session_id)}"

    def detail(self, key: str, *, raw: bool) -> str:
        """The letter, without its body."""
        letter = self._letters.get(key)
        if letter is None:
            return ""
        return raw_json(letter, show_phones=self.desk.settings.show_phones)

    def action_drill(self) -> None:
        """The letter."""
        self.action_describe()

    def action_redrive(self) -> None:
        """Send again. Those whose end nobody knows may arrive twice: that is said first."""
        letters = self._picked()
        unsure = sum(letter.state is MessageState.UNKNOWN for letter in letters)
        warning = "They go to the end of their session's lane."
        if unsure:
            warning = f"{unsure} may have gone out already: those could arrive twice."

        def target(letter: DeadLetterView, ref: LetterRef) -> Target:
            force = letter.state is MessageState.UNKNOWN
            return Target(_letter_label(letter), lambda actor: actor.redrive(ref, force=force))

        targets = [target(letter, self._ref(letter)) for letter in letters]
        carry_out(
            self.app, self.desk, Plan("Redrive", "message", targets, warning), self.load_again
        )

    def action_drop(self) -> None:
        """Forget."""

        def target(letter: DeadLetterView, ref: LetterRef) -> Target:
            return Target(_letter_label(letter), lambda actor: actor.drop(ref))

        targets = [target(letter, self._ref(letter)) for letter in self._picked()]
        warning = "They can't be redriven any more."
        carry_out(
            self.app,
            self.desk,
            Plan("Drop", "dead letter", targets, warning, names=True),
            self.load_again,
        )

    def _picked(self) -> list[DeadLetterView]:
        chosen = self.active_table().selected
        return [self._letters[key] for key in chosen if key in self._letters]

    def _ref(self, letter: DeadLetterView) -> LetterRef:
        assert self._session is not None, "without it nothing was asked for"
        return LetterRef(self._session, letter.message_id)


class WebhooksScreen(LoadedScreen):
    """Of one tenant, or of all that have sessions."""

    VIEW = WEBHOOKS
    WORD = "WEBHOOKS"
    EMPTY = "no webhooks"
    COLUMNS = webhook_rows.COLUMNS
    SORTS = webhook_rows.SORTS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(WEBHOOKS)]

    def __init__(self, desk: Desk, tenant_id: str = "") -> None:
        super().__init__(desk)
        self._tenant_id = tenant_id
        self._hooks: dict[str, tuple[str, WebhookView]] = {}

    async def load(self) -> None:
        """Tenant by tenant."""
        if self.desk.source is None:
            return
        found: dict[str, tuple[str, WebhookView]] = {}
        for tenant_id in self._tenants():
            for hook in await self.desk.source.webhooks(tenant_id):
                found[hook.webhook_id] = (tenant_id, hook)
        self._hooks = found

    def rows(self, now: Now) -> Sequence[Row]:
        """Of the last answer."""
        del now
        return [webhook_rows.webhook_row(hook, tenant) for tenant, hook in self._hooks.values()]

    def title_words(self) -> str:
        """Whose."""
        return f"WEBHOOKS of {self._tenant_id}" if self._tenant_id else "WEBHOOKS"

    def detail(self, key: str, *, raw: bool) -> str:
        """The endpoint."""
        held = self._hooks.get(key)
        return raw_json(held[1], show_phones=self.desk.settings.show_phones) if held else ""

    def action_drill(self) -> None:
        """Its deliveries."""
        held = self._hooks.get(self.active_table().cursor_key or "")
        if held is not None:
            self.app.push_screen(
                DeliveriesScreen(self.desk, WebhookRef(held[0], held[1].webhook_id), held[1].url)
            )

    def action_toggle_webhook(self) -> None:
        """Disable the chosen; if all of them are disabled, enable them."""
        chosen = self._picked()
        if all(not hook.enabled for _, hook in chosen):
            self._act("Enable", "")
        else:
            self._act("Disable", "Nothing is sent to them; their places among the events are kept.")

    def action_check_webhook(self) -> None:
        """A test event."""
        self._act("Test", "")

    def _act(self, verb: str, warning: str) -> None:
        def act(ref: WebhookRef) -> Target:
            label = webhook_rows.shown_url(self._hooks[ref.webhook_id][1].url)
            match verb:
                case "Enable":
                    return Target(label, lambda actor: actor.enable_webhook(ref))
                case "Disable":
                    return Target(label, lambda actor: actor.disable_webhook(ref))
                case _:
                    return Target(label, lambda actor: actor.check_webhook(ref))

        targets = [act(WebhookRef(tenant, hook.webhook_id)) for tenant, hook in self._picked()]
        carry_out(self.app, self.desk, Plan(verb, "webhook", targets, warning), self.load_again)

    def _picked(self) -> list[tuple[str, WebhookView]]:
        return [self._hooks[key] for key in self.active_table().selected if key in self._hooks]

    def _tenants(self) -> list[str]:
        if self._tenant_id:
            return [self._tenant_id]
        records = (entry.record for entry in self.view.sessions.values())
        return sorted({kept.record.tenant_id for kept in records if kept})[:TENANTS_MAX]


class DeliveriesScreen(LoadedScreen):
    """A webhook's."""

    VIEW = DELIVERIES
    WORD = "DELIVERIES"
    EMPTY = "no deliveries yet"
    COLUMNS = webhook_rows.DELIVERY_COLUMNS
    SORTS = webhook_rows.DELIVERY_SORTS
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(DELIVERIES)]

    def __init__(self, desk: Desk, webhook: WebhookRef, url: str) -> None:
        super().__init__(desk)
        self._webhook = webhook
        self._url = url
        self._deliveries: dict[str, DeliveryView] = {}

    async def load(self) -> None:
        """The last tried."""
        if self.desk.source is not None:
            found = await self.desk.source.deliveries(self._webhook)
            self._deliveries = {delivery.event_id: delivery for delivery in found}

    def rows(self, now: Now) -> Sequence[Row]:
        """Of the last answer."""
        return [webhook_rows.delivery_row(each, now.unix) for each in self._deliveries.values()]

    def title_words(self) -> str:
        """Where to."""
        return f"DELIVERIES to {webhook_rows.shown_url(self._url)}"

    def detail(self, key: str, *, raw: bool) -> str:
        """The delivery and its attempts."""
        delivery = self._deliveries.get(key)
        return raw_json(delivery, show_phones=self.desk.settings.show_phones) if delivery else ""

    def action_drill(self) -> None:
        """The delivery."""
        self.action_describe()

    def action_resend(self) -> None:
        """Again, under the same id."""

        def target(delivery: DeliveryView) -> Target:
            ref = DeliveryRef(self._webhook, delivery.event_id)
            label = f"{words.short_id(delivery.event_id)}  {delivery.type}"
            return Target(label, lambda actor: actor.resend(ref))

        chosen = self.active_table().selected
        targets = [target(self._deliveries[key]) for key in chosen if key in self._deliveries]
        carry_out(self.app, self.desk, Plan("Resend", "event", targets), self.load_again)


def _letter_label(letter: DeadLetterView) -> str:
    return f"{words.short_id(letter.message_id)}  {letter.state}  {letter.error_code}"
