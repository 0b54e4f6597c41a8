"""The fault harness: every failure we can name, on demand, with an oracle.

A scenario is a coroutine that is given a World: it starts the node, connects clients, writes transcripts, does the
harm, and says what must come of it. Whatever else must hold (the checks V1 to V10, and the delivery oracle) is checked
after it. Ten lines suffice:

    @scenario("N06", seeds=3)
    async def a_reset_while_sending_costs_that_client_only(world: SimWorld) -> None:
        await world.start()
        await world.client("other")                       # must not notice
        victim = await world.target("victim")             # must be complete in the end
        line_of(victim).faults[line_of(victim).sends + 1] = reset
        world.write("s1", 10)

ports.py     the ports of level 0, with failpoints
rows.py      the rows of the catalogue, and the registry          catalogue.py  all scenarios
world.py     what a scenario plays in, and what must hold         peer.py       a client, seen from its own end
simworld.py  level 0: virtual time, over sim.py and line.py       sockets.py    level 1: real sockets; level 2: a child
visitor.py   a raw connection, which says anything    frozen.py       a client in a process that can be stopped
play.py      one run with one seed                                planted.py    bugs that the oracle has to catch
"""
