"""Comparisons over the API: who may start one, stop it, and take its report away. They are run in `benches`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from broker.transport.complaints import log
from broker.web.accounts import Denied
from broker.web.benches import WORKLOADS, Busy
from broker.web.looking import missing

if TYPE_CHECKING:
    from broker.web.benches import Benches
    from broker.web.reports import Comparison
    from broker.web.routes import Asked


class Benching:
    """See the module."""

    def __init__(self, benches: Benches) -> None:
        self.benches = benches

    async def list_all(self, asked: Asked) -> Response:
        items = [each.told() for each in await self.benches.all()]
        workloads = [{"name": name, "text": text} for name, text in WORKLOADS.items()]
        return JSONResponse({"workloads": workloads, "items": items})

    async def one(self, asked: Asked) -> Response:
        comparison = await self._found(asked.path)
        report = await self.benches.report(comparison)
        told = json.dumps(comparison.told())  # and the report as it is, for it may be long
        return Response(f'{told[:-1]}, "report": {report or "null"}}}', media_type="application/json")

    async def start(self, asked: Asked) -> Response:
        body = asked.body
        if not self.benches.possible:
            raise Denied(
                503, "unavailable", "No comparison can be run here; 'broker bench compare' runs one elsewhere."
            )
        try:
            found = await self.benches.start(body["workload"], body["seconds"], body["rounds"], body["connections"])
        except Busy as busy:
            running = busy.running
            how_far = f"{running.workload}, {running.progress:.0%} done"
            raise Denied(409, "busy", f"{running.id} runs already ({how_far}): wait for it, or stop it.") from None
        log.info("%a has the comparison %s run: %s", asked.who.name, found.id, found.workload)
        return JSONResponse({"id": found.id}, 202)

    async def remove(self, asked: Asked) -> Response:
        found = await self._found(asked.path)
        if found is self.benches.running:
            log.info("%a stops the comparison %s", asked.who.name, found.id)
            self.benches.stop()
        else:
            log.info("%a has removed the report of the comparison %s", asked.who.name, found.id)
            await self.benches.remove(found)
        return Response(status_code=204)

    async def _found(self, identifier: str) -> Comparison:
        found = await self.benches.one(identifier)
        if found is None:
            raise missing("There is no such comparison.")
        return found
