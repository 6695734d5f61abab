"""The authority: the fleet's operator, its accounts, and who was given a credential.

Owns a directory (0700) of keys, signed accounts and the list of identities. Whoever has it can
make any identity: it belongs on the machine of those who deploy, never on a node. Never connects
to anything (see `push.py`), and keeps no user's seed: that is in its credentials file alone.

Accounts: `system` (for pushing), `blazz` (JetStream and all but nodes), and one a node.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from cli.identity.key_files import (
    ACCOUNT,
    OPERATOR,
    USER,
    issuer_of,
    new_seed,
    public_key,
    read_secret,
    write_secret,
)
from cli.identity.records import TTL_S, Identity, Issued, Kind, State, check_name
from cli.identity.server_files import said, server_include
from control_plane.core import bus_jwt
from control_plane.core.bus_jwt import NODE_CONNECTIONS_MAX, JetStreamLimits
from schemas import permissions
from schemas.bus_credentials import Credentials, parse_credentials
from schemas.errors import BlazzError, ErrorCode
from schemas.permissions import Permissions

_SYSTEM_TTL_S: Final = 10 * 365 * 86_400
_GOOD_SHARE: Final = 0.5
_NODE_SIGNER: Final = "node-signer"
_IN_THE_FLEET: Final = {
    Kind.CONTROL_PLANE: permissions.control_plane,
    Kind.VIEWER: permissions.viewer,
    Kind.BACKUP: permissions.backup,
}
"""What those in the fleet's own account may do."""


class Authority:
    """The authority in a directory; blocking, quick file work. `clock` gives Unix seconds."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._clock = clock

    # Making it -----------------------------------------------------------------------------------

    def init(self, name: str, *, resolver_dir: str, jetstream: JetStreamLimits) -> bool:
        """Make what is missing or no longer as it should be: keys, accounts, the server's include.
        Whether anything was new."""
        wanted = State(name=name, resolver_dir=resolver_dir, jetstream=jetstream)
        known = self._state() if self._state_path.exists() else None
        if known is not None:
            wanted = msgspec.structs.replace(
                wanted, identities=known.identities, revoked_users=known.revoked_users
            )
        fresh = wanted != known
        if fresh:
            self._write(wanted)
        for key, kind in (
            ("operator", OPERATOR),
            ("system", ACCOUNT),
            ("blazz", ACCOUNT),
            (_NODE_SIGNER, ACCOUNT),
        ):
            if not self._seed_path(key).exists():
                fresh = True
                write_secret(self._seed_path(key), new_seed(kind) + "\n")
        if not self.system_creds.exists():
            seed, now = new_seed(USER), self._now()
            everything = Permissions(publish=(">",), subscribe=(">",))
            jwt = bus_jwt.user(
                self._issuer("system"),
                public_key(seed),
                "system",
                everything,
                now=now,
                expires_at=now + _SYSTEM_TTL_S,
            )
            write_secret(self.system_creds, Credentials(jwt, seed).text())
        # Another version of Blazz may give nodes more or fewer subjects.
        fresh |= self._sign_system_and_fleet()
        for identity in self.all():
            if identity.kind is Kind.NODE:
                fresh |= self._sign_node(identity)
        return fresh

    @property
    def server_include(self) -> Path:
        """What every nats-server includes: no secret in it, and the same on all of them."""
        return self.directory / "nats-identity.conf"

    @property
    def system_creds(self) -> Path:
        """Who may push accounts."""
        return self.directory / "creds" / "system.creds"

    @property
    def node_signer(self) -> Path:
        """The scoped key for control planes: it makes users of nodes' accounts, nothing else."""
        return self._seed_path(_NODE_SIGNER)

    # Identities ----------------------------------------------------------------------------------

    def all(self) -> list[Identity]:
        """Everybody, by kind and name."""
        return sorted(self._state().identities.values(), key=lambda it: (it.kind, it.name))

    def issue(
        self, kind: Kind, name: str, *, ttl_s: float, out: Path | None = None, force: bool = False
    ) -> Issued:
        """A credential with a new key, for `ttl_s`; into `out`, or the authority's own folder.

        One that is in its file already keeps its key, and stays as it is while more than half its
        life is left; unless it was revoked, or with `force`. Raises `validation_failed` for a bad
        name.
        """
        check_name(kind, name)
        path = out or self.creds_path(kind, name)
        known = self._state().identities.get(_key(kind, name))
        if not force and known is not None and not known.revoked:
            held = self._held(path, known)
            if held is not None and held.claims.life_left(self._clock()) > _GOOD_SHARE:
                return Issued(known, str(path), changed=False)
            if held is not None:
                return self.renew(path, ttl_s=ttl_s)
        seed = new_seed(USER)
        node_account = known.account if known and known.account else ""
        if kind is Kind.NODE and not node_account:
            # Nobody needs its key: the operator signs it, the scoped key signs its users.
            node_account = public_key(new_seed(ACCOUNT))
        identity = self._made(
            Identity(
                kind=kind,
                name=name,
                public_key=public_key(seed),
                account=node_account,
                issued_at=0,
                expires_at=0,
                revoked_until=known.revoked_until if known else 0,
            ),
            ttl_s,
        )
        self._keep(identity)
        write_secret(path, Credentials(self._user_jwt(identity), seed).text())
        return Issued(identity, str(path), changed=True)

    def renew(self, path: Path, *, ttl_s: float | None = None) -> Issued:
        """A new JWT for the key in a credentials file, into the same file. Raises `not_found` for
        one that was not issued here, `forbidden` for one that was revoked."""
        held = parse_credentials(read_secret(path))
        found = [it for it in self.all() if it.public_key == held.claims.sub]
        if not found:
            raise BlazzError(
                ErrorCode.NOT_FOUND, "this credential was not issued here, or replaced"
            )
        if found[0].revoked:
            raise BlazzError(ErrorCode.FORBIDDEN, f"{found[0].name} was revoked: issue a new one")
        identity = self._made(found[0], TTL_S[found[0].kind] if ttl_s is None else ttl_s)
        self._keep(identity)
        write_secret(path, Credentials(self._user_jwt(identity), held.seed).text())
        return Issued(identity, str(path), changed=True)

    def revoke(self, name: str, kind: Kind = Kind.NODE) -> Identity:
        """Refuse everything that was issued to it so far; a node's account is emptied, so that
        nothing renewed helps it either. Takes effect with a push. Raises `not_found`."""
        state, now = self._state(), self._now()
        known = state.identities.get(_key(kind, name))
        if known is None:
            raise BlazzError(ErrorCode.NOT_FOUND, f"no {kind} is called {name}")
        revoked = msgspec.structs.replace(known, revoked_at=now, revoked_until=now)
        if kind is not Kind.NODE:
            users = {**state.revoked_users, known.public_key: now}
            self._write(msgspec.structs.replace(state, revoked_users=users))
        self._keep(revoked)
        return revoked

    def accounts(self) -> dict[str, str]:
        """Every account's JWT by its public key, as the servers should have them."""
        found = {}
        for path in sorted((self.directory / "accounts").glob("*.jwt")):
            jwt = path.read_text(encoding="ascii").strip()
            found[path.stem] = jwt
        return found

    def creds_path(self, kind: Kind, name: str) -> Path:
        """Where a credential goes unless told otherwise."""
        return self.directory / "creds" / f"{kind}.{name}.creds"

    # Inside --------------------------------------------------------------------------------------

    def _held(self, path: Path, known: Identity) -> Credentials | None:
        """What is in a file, if it is this identity's."""
        try:
            found = parse_credentials(read_secret(path))
        except BlazzError:
            return None
        return found if found.claims.sub == known.public_key else None

    def _made(self, identity: Identity, ttl_s: float) -> Identity:
        # A revocation counts for the whole second in which it was made.
        now = max(self._now(), identity.revoked_until + 1)
        return msgspec.structs.replace(
            identity, issued_at=now, expires_at=int(now + max(1.0, ttl_s)), revoked_at=0
        )

    def _user_jwt(self, identity: Identity) -> str:
        now, expires_at = identity.issued_at, identity.expires_at
        if identity.kind is Kind.NODE:
            return bus_jwt.scoped_user(
                self._issuer(_NODE_SIGNER),
                identity.account,
                identity.public_key,
                identity.name,
                now=now,
                expires_at=expires_at,
            )
        return bus_jwt.user(
            self._issuer("blazz"),
            identity.public_key,
            identity.name,
            _IN_THE_FLEET[identity.kind](identity.name),
            now=now,
            expires_at=expires_at,
        )

    def _keep(self, identity: Identity) -> None:
        """Write it down and sign the account that it is in."""
        state = self._state()
        known = {**state.identities, _key(identity.kind, identity.name): identity}
        self._write(msgspec.structs.replace(state, identities=known))
        if identity.kind is Kind.NODE:
            self._sign_node(identity)
        else:
            self._sign_system_and_fleet()

    def _sign_node(self, node: Identity) -> bool:
        scope = permissions.node(node.name, own_account=True)
        jwt = bus_jwt.account(
            self._issuer("operator"),
            node.account,
            f"node-{node.name}",
            now=self._now(),
            imports=() if node.revoked else permissions.node_imports(node.name),
            imports_from=self._public("blazz"),
            scopes={} if node.revoked else {self._public(_NODE_SIGNER): scope},
            connections_max=NODE_CONNECTIONS_MAX,
            revoked={"*": node.revoked_until} if node.revoked_until else None,
        )
        return self._write_jwt(self._account_path(node.account), jwt)

    def _sign_system_and_fleet(self) -> bool:
        state, now, operator = self._state(), self._now(), self._issuer("operator")
        system, fleet = self._public("system"), self._public("blazz")
        changed = self._write_jwt(
            self._account_path(system), bus_jwt.account(operator, system, "system", now=now)
        )
        changed |= self._write_jwt(
            self._account_path(fleet),
            bus_jwt.account(
                operator,
                fleet,
                "blazz",
                now=now,
                jetstream=state.jetstream,
                exports=permissions.node_imports("*"),
                revoked=state.revoked_users,
            ),
        )
        changed |= self._write_jwt(
            self.directory / "operator.jwt",
            bus_jwt.operator(operator, state.name, system_account=system, now=now),
        )
        accounts = self.accounts()
        text = server_include(
            (self.directory / "operator.jwt").read_text(encoding="ascii").strip(),
            system_account=system,
            resolver_dir=state.resolver_dir,
            preload={key: accounts[key] for key in (system, fleet)},
        )
        if not self.server_include.exists() or self.server_include.read_text() != text:
            write_secret(self.server_include, text)
            self.server_include.chmod(0o644)
            changed = True
        return changed

    def _account_path(self, public: str) -> Path:
        return self.directory / "accounts" / f"{public}.jwt"

    def _write_jwt(self, path: Path, jwt: str) -> bool:
        """Write it unless one that says the same is there: then that stays, with its date."""
        if path.exists() and said(path.read_text(encoding="ascii")) == said(jwt):
            return False
        write_secret(path, jwt + "\n")
        return True

    def _issuer(self, key: str) -> bus_jwt.Issuer:
        return issuer_of(read_secret(self._seed_path(key)))

    def _public(self, key: str) -> str:
        return self._issuer(key).public_key

    def _seed_path(self, key: str) -> Path:
        return self.directory / "keys" / f"{key}.seed"

    @property
    def _state_path(self) -> Path:
        return self.directory / "identities.json"

    def _state(self) -> State:
        try:
            return msgspec.json.decode(self._state_path.read_bytes(), type=State)
        except FileNotFoundError:
            raise BlazzError(
                ErrorCode.CONFIG_INVALID,
                f"no authority in {self.directory}: make one with `blazz identity init`",
            ) from None
        except msgspec.MsgspecError as error:
            raise BlazzError(ErrorCode.CONFIG_INVALID, "identities.json is damaged") from error

    def _write(self, state: State) -> None:
        write_secret(self._state_path, _json(state))

    def _now(self) -> int:
        return int(self._clock())


def _key(kind: Kind, name: str) -> str:
    return f"{kind}/{name}"


def _json(value: msgspec.Struct) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode() + "\n"
