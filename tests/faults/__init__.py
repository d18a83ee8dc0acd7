"""A fault campaign: the server and its PostgreSQL are killed, cut off and starved under load, and
after each fault every answer that was given must be in the log, once.

    programs.py   PostgreSQL and the server, killed and started again
    relay.py      the network between the two, which can be cut, stalled and slowed
    disks.py      small disks that can be filled
    load.py       clients that remember every answer
    scene.py      all of these, running
    faults.py     the table of faults: what is done, and how it is healed
    checks.py     what must hold once a fault has been healed
    campaign.py   faults at random, one after the other
    report.py     what became of them

A short one runs with the tests; `make faults` runs the long one. As root it also fills disks.
"""
