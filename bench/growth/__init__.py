"""How cost grows with the work: offered load, length, batch, CPU limit, replicas, rows.

A module a question, each with the same four functions, which `__main__.py` calls: `add_options`,
`measure` (numbers for JSON), `described` (Markdown) and `panels` (lines for pictures.py).
"""
