"""``python -m gpt4scene.demo`` is ``gpt4scene demo``."""

from .pipeline import main

raise SystemExit(main())
