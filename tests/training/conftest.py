import sys

#: TRL itself needs Python 3.11; there its absence is an error, not a reason to pass.
collect_ignore_glob = ["test_trl_*.py"] if sys.version_info < (3, 11) else []
