"""``python -m gpt4scene.demo`` is ``gpt4scene demo``."""

from gpt4scene.demo.pipeline import main

raise SystemExit(main())
