import sys
from pathlib import Path

# so that tests can import the maker of invented run folders next to them
sys.path.insert(0, str(Path(__file__).parent))
