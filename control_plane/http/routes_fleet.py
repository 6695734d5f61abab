"""Routes for operators: nodes, places, all tenants' sessions.

Owns the HTTP shape of `ports.Fleet` and `ports.Operations`. What they begin goes on whoever hangs
up: every answer but a read is a 202 or the node as it is wanted now.
"""

from typing import Any

from litestar import get, post
from litestar.params import FromPath

from control_plane.http.auth import Scope, access
from control_plane.http.bodies import AnyRequest, json_body
from control_plane.http.dependencies import Ports, Settings
from schemas.api import (
    CordonNode,
    DrainNode,
    MoveRequest,
    NodeDetail,
    NodeView,
    Page,
    RebalanceRequest,
    RebalanceView,
    SessionView,
)
from schemas.errors import ErrorCode as C
from schemas.ids import NodeId, SessionId

TAGS = ["Fleet"]
_BODY = (
    C.MALFORMED_REQUEST,
    C.VALIDATION_FAILED,
    C.UNSUPPORTED_MEDIA_TYPE,
    C.PAYLOAD_TOO_LARGE,
)


@get(
    "/nodes",
    operation_id="listNodes",
    summary="List nodes",
    tags=TAGS,
    opt=access(Scope.OPERATOR),
)
async def list_nodes(services: Ports) -> Page[NodeView]:
    """`GET /v1/nodes`"""
    return Page(await services.fleet.nodes())


@get(
    "/nodes/{node_id:str}",
    operation_id="getNode",
    summary="Get a node",
    description="With the sessions on it and, while it is drained, why each is still there.",
    tags=TAGS,
    opt=access(Scope.OPERATOR, C.NODE_NOT_FOUND),
)
async def get_node(services: Ports, node_id: FromPath[NodeId]) -> NodeDetail:
    """`GET /v1/nodes/{id}`"""
    return await services.operations.node(node_id)


@post(
    "/nodes/{node_id:str}/cordon",
    operation_id="cordonNode",
    summary="Cordon a node",
    description="No new session goes there; those on it stay.",
    tags=TAGS,
    status_code=200,
    opt=access(Scope.OPERATOR, C.NODE_NOT_FOUND, *_BODY, body=CordonNode),
)
async def cordon_node(
    request: AnyRequest, services: Ports, settings: Settings, node_id: FromPath[NodeId]
) -> NodeView:
    """`POST /v1/nodes/{id}/cordon`"""
    asked, _ = await json_body(request, CordonNode, settings.json_bytes_max, optional=True)
    return await services.operations.cordon(node_id, asked.reason)


@post(
    "/nodes/{node_id:str}/uncordon",
    operation_id="uncordonNode",
    summary="Uncordon a node",
    description="New sessions go there again. A drain that has not ended is given up.",
    tags=TAGS,
    status_code=200,
    opt=access(Scope.OPERATOR, C.NODE_NOT_FOUND),
)
async def uncordon_node(services: Ports, node_id: FromPath[NodeId]) -> NodeView:
    """`POST /v1/nodes/{id}/uncordon`"""
    return await services.operations.uncordon(node_id)


@post(
    "/nodes/{node_id:str}/drain",
    operation_id="drainNode",
    summary="Drain a node",
    description="Its sessions move to other nodes, each with a snapshot, and none comes. Follow "
    "it with `GET /v1/nodes/{id}` until `drained`. After the deadline, sessions for which no other "
    "node has room are stopped and shown as unplaceable.",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.OPERATOR, C.NODE_NOT_FOUND, *_BODY, body=DrainNode),
)
async def drain_node(
    request: AnyRequest, services: Ports, settings: Settings, node_id: FromPath[NodeId]
) -> NodeDetail:
    """`POST /v1/nodes/{id}/drain`"""
    asked, _ = await json_body(request, DrainNode, settings.json_bytes_max, optional=True)
    return await services.operations.drain(
        node_id, deadline_s=asked.deadline_s, reason=asked.reason
    )


@post(
    "/sessions/{session_id:str}/move",
    operation_id="moveSession",
    summary="Move a session",
    description="To a node, or to the best other one. Its link goes along.",
    tags=TAGS,
    status_code=202,
    opt=access(
        Scope.OPERATOR,
        C.SESSION_NOT_FOUND,
        C.SESSION_NOT_RUNNING,
        C.NODE_NOT_FOUND,
        C.NO_NODE_AVAILABLE,
        *_BODY,
        body=MoveRequest,
    ),
)
async def move_session(
    request: AnyRequest, services: Ports, settings: Settings, session_id: FromPath[SessionId]
) -> SessionView:
    """`POST /v1/sessions/{id}/move`"""
    asked, _ = await json_body(request, MoveRequest, settings.json_bytes_max, optional=True)
    return await services.operations.move(session_id, asked.node_id)


@get(
    "/fleet/sessions",
    operation_id="listFleetSessions",
    summary="List all tenants' sessions",
    tags=TAGS,
    opt=access(Scope.OPERATOR),
)
async def list_fleet_sessions(services: Ports) -> Page[SessionView]:
    """`GET /v1/fleet/sessions`"""
    return Page(await services.fleet.sessions())


@post(
    "/fleet/rebalance",
    operation_id="rebalanceFleet",
    summary="Rebalance the fleet",
    description="Moves sessions from the fuller nodes to the emptier ones, a few at a time.",
    tags=TAGS,
    status_code=202,
    opt=access(Scope.OPERATOR, *_BODY, body=RebalanceRequest),
)
async def rebalance_fleet(
    request: AnyRequest, services: Ports, settings: Settings
) -> RebalanceView:
    """`POST /v1/fleet/rebalance`"""
    asked, _ = await json_body(request, RebalanceRequest, settings.json_bytes_max, optional=True)
    return await services.operations.rebalance(asked.max_moves)


ROUTES: list[Any] = [
    list_nodes,
    get_node,
    cordon_node,
    uncordon_node,
    drain_node,
    move_session,
    list_fleet_sessions,
    rebalance_fleet,
]
