"""MongoDB's side of a Blazz fleet: the control planes' user, and a role with no right too many.

Owns only these two; what the role allows is the release's to say. Reads the URIs as JSON from stdin
and prints one JSON object: `changed`, a list of what it made, or `error`, which never quotes a URI.
Safe to repeat. `--look` changes nothing.
"""

import json
import sys
from typing import Any

from pymongo import MongoClient
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from control_plane.core.mongo_roles import CONTROL_PLANE_ROLE as ROLE
from control_plane.core.mongo_roles import mongo_roles

SELECT_MS = 10_000


def main() -> int:
    """Exit 0 when the control planes' URI works, and may do what it must."""
    database, look = sys.argv[1], "--look" in sys.argv
    given = json.load(sys.stdin)
    try:
        changed = prepare(given["uri"], given["admin_uri"], database, look=look)
        if not look:
            try_it(given["uri"], database)
    except ConfigurationError:
        return say(error="a URI is not valid")
    except OperationFailure as error:
        return say(error=f"refused: {error.code} {(error.details or {}).get('codeName', '')}")
    except PyMongoError as error:
        return say(error=f"does not answer: {type(error).__name__}")
    return say(changed=changed)


def prepare(uri: str, admin_uri: str, database: str, *, look: bool) -> list[str]:
    """Make or mend the role and the user; what was done."""
    if not admin_uri:
        return []
    wanted = parse_uri(uri)
    name, password = wanted["username"], wanted["password"]
    options = {key.lower(): value for key, value in wanted["options"].items()}
    home = options.get("authsource") or wanted["database"] or "admin"
    with connect(admin_uri) as admin:
        changed = make_role(admin[database], database, look=look)
        changed += make_user(admin[home], name, password, database, look=look)
        if "user" not in changed and not works(uri, home):
            changed.append("password")
            if not look:
                admin[home].command("updateUser", name, pwd=password)
    return changed


def make_role(base: Any, database: str, *, look: bool) -> list[str]:
    """The role, in the database that it is about."""
    of_control_planes, _ = mongo_roles()
    privileges = of_control_planes.command(database)["privileges"]
    found = base.command("rolesInfo", ROLE, showPrivileges=True)["roles"]
    if not found:
        if not look:
            base.command("createRole", ROLE, privileges=privileges, roles=[])
        return ["role"]
    if shape(found[0].get("privileges", [])) == shape(privileges):
        return []
    if not look:
        base.command("updateRole", ROLE, privileges=privileges, roles=[])
    return ["role"]


def make_user(base: Any, name: str, password: str, database: str, *, look: bool) -> list[str]:
    """The user, with that role alone."""
    roles = [{"role": ROLE, "db": database}]
    found = base.command("usersInfo", name)["users"]
    if not found:
        if not look:
            base.command("createUser", name, pwd=password, roles=roles)
        return ["user"]
    if [{"role": each["role"], "db": each["db"]} for each in found[0]["roles"]] == roles:
        return []
    if not look:
        base.command("updateUser", name, roles=roles)
    return ["user's roles"]


def works(uri: str, home: str) -> bool:
    """Whether the user can sign in."""
    try:
        with connect(uri) as client:
            client[home].command("ping")
    except OperationFailure:
        return False
    return True


def try_it(uri: str, database: str) -> None:
    """Do what a control plane does first. Raises what the server says."""
    with connect(uri) as client:
        client[database]["messages"].find_one({"_id": "none"})


def shape(privileges: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Privileges in an order that can be compared."""
    return sorted(
        (each["resource"]["db"], each["resource"]["collection"], *sorted(each["actions"]))
        for each in privileges
    )


def connect(uri: str) -> Any:
    """A client that gives up soon."""
    return MongoClient(uri, serverSelectionTimeoutMS=SELECT_MS, appname="blazz-ansible")


def say(**what: Any) -> int:
    """Print it; the exit code."""
    sys.stdout.write(json.dumps(what) + "\n")
    return 1 if "error" in what else 0


if __name__ == "__main__":
    sys.exit(main())
