"""Acting: what the keys do to nodes and sessions, wherever these are shown.

Owns the plans' words. A screen says which nodes and sessions are chosen.
"""

from collections.abc import Awaitable, Callable, Sequence

from tui.acts import Actor, SessionRef
from tui.rows import words
from tui.screens.frame import ViewScreen
from tui.screens.plans import Plan, Target, carry_out, counted
from tui.screens.qr import QrScreen


class ActingScreen(ViewScreen):
    """A screen on which nodes, sessions or both can be chosen."""

    def chosen_nodes(self) -> Sequence[str]:
        """The nodes an act is about now."""
        return ()

    def chosen_sessions(self) -> Sequence[str]:
        """The sessions an act is about now."""
        return ()

    # Nodes ---------------------------------------------------------------------------------------

    def action_cordon(self) -> None:
        """Cordon; if all of them are cordoned or drained, undo that."""
        nodes = self._wanted_nodes()
        if nodes and all(self._is_cordoned(node_id) for node_id in nodes):
            warning = "Drains that have not ended are given up." if self._draining(nodes) else ""
            self._act_on_nodes("Uncordon", nodes, lambda actor, it: actor.uncordon(it), warning)
        else:
            self._act_on_nodes("Cordon", nodes, lambda actor, it: actor.cordon(it))

    def action_drain(self) -> None:
        """Move all sessions away."""
        nodes = self._wanted_nodes()
        on_them = sum(self._sessions_on(node_id) for node_id in nodes)
        warning = (
            f"{counted(on_them, 'session')} will move; each is offline for a moment. After 10 "
            "minutes those that fit nowhere else are stopped."
        )
        self._act_on_nodes("Drain", nodes, lambda actor, it: actor.drain(it), warning)

    def _wanted_nodes(self) -> Sequence[str]:
        nodes = self.chosen_nodes()
        if not nodes:
            self.notify("Choose a node first", severity="warning", timeout=3)
        return nodes

    def _act_on_nodes(
        self,
        verb: str,
        nodes: Sequence[str],
        act: Callable[[Actor, str], Awaitable[None]],
        warning: str = "",
    ) -> None:
        def target(node_id: str) -> Target:
            return Target(node_id, lambda actor: act(actor, node_id))

        targets = [target(node_id) for node_id in nodes]
        carry_out(self.app, self.desk, Plan(verb, "node", targets, warning))

    def _is_cordoned(self, node_id: str) -> bool:
        node = self.desk.view.nodes.get(node_id)
        intent = node.intent.record if node and node.intent else None
        return intent is not None and (intent.cordoned or intent.draining)

    def _draining(self, nodes: Sequence[str]) -> bool:
        entries = (self.desk.view.nodes.get(node_id) for node_id in nodes)
        return any(node and node.intent and node.intent.record.draining for node in entries)

    def _sessions_on(self, node_id: str) -> int:
        node = self.desk.view.nodes.get(node_id)
        return len(node.pulse.heartbeat.sessions) if node and node.pulse else 0

    # Sessions ------------------------------------------------------------------------------------

    def action_start(self) -> None:
        """Start."""
        self._act_on_sessions("Start", lambda actor, it: actor.start(it))

    def action_stop(self) -> None:
        """Stop."""
        warning = "No messages come or go until they are started again. Phones stay linked."
        self._act_on_sessions("Stop", lambda actor, it: actor.stop(it), warning)

    def action_restart(self) -> None:
        """Restart."""
        warning = "Each is offline until it has started anew."
        self._act_on_sessions("Restart", lambda actor, it: actor.restart(it), warning)

    def action_move(self) -> None:
        """Move to the best other node."""
        warning = "Each goes to the best other node and is offline for a moment."
        self._act_on_sessions("Move", lambda actor, it: actor.move(it), warning)

    def action_log_out(self) -> None:
        """Unlink the phone."""
        warning = "The phones are unlinked: somebody must scan a new code for each."
        self._act_on_sessions("Log out", lambda actor, it: actor.log_out(it), warning, names=True)

    def action_delete(self) -> None:
        """Delete."""
        warning = "Their links, profiles and messages go for good."
        self._act_on_sessions("Delete", lambda actor, it: actor.delete(it), warning, names=True)

    def action_link(self) -> None:
        """Show the code that links a phone."""
        sessions = self._wanted_sessions()
        if not sessions:
            return
        if self.desk.actor is None or self.desk.source is None:
            self.notify(self.desk.why_read_only, severity="warning")
            return
        ref = self.desk.session_ref(sessions[0])
        if ref is not None:
            self.app.push_screen(QrScreen(self.desk, ref, self.session_label(ref)))

    def action_row_events(self) -> None:
        """The row's events, on a screen of their own."""
        key = self.active_table().cursor_key
        if key:
            self.go("events", key)

    def action_letters(self) -> None:
        """The session's dead letters."""
        sessions = self._wanted_sessions()
        if sessions:
            self.go("dead-letters", sessions[0])

    def _wanted_sessions(self) -> Sequence[str]:
        sessions = self.chosen_sessions()
        if not sessions:
            self.notify("Choose a session first", severity="warning", timeout=3)
        return sessions

    def _act_on_sessions(
        self,
        verb: str,
        act: Callable[[Actor, SessionRef], Awaitable[None]],
        warning: str = "",
        *,
        names: bool = False,
    ) -> None:
        def target(ref: SessionRef) -> Target:
            return Target(self.session_label(ref), lambda actor: act(actor, ref))

        found = (self.desk.session_ref(session_id) for session_id in self._wanted_sessions())
        targets = [target(ref) for ref in found if ref is not None]
        carry_out(self.app, self.desk, Plan(verb, "session", targets, warning, names))

    def session_label(self, ref: SessionRef) -> str:
        """A session as people know it."""
        look = self.desk.roll.looks.get(ref.session_id)
        name = look.name if look and look.name else words.NONE
        return f"{ref.tenant_id}/{name}  {words.short_id(ref.session_id)}"
