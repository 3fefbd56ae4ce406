"""What every call of the operating system may answer, given to every call that a command makes.

`python -m tests.errnos` is the campaign: each command of `recurc` runs once and its calls are noted (opening, reading, writing,
renaming, looking, starting programs); then it runs again and again, and each time one of these calls fails with one of the
errors that the system has for it. No command may call that a bug, show a traceback, lose a file or leave one behind.
"""
