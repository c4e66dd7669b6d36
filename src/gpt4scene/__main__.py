"""``python -m gpt4scene COMMAND …``: the program where its script is not on the path."""

from gpt4scene.cli import program

if __name__ == "__main__":
    program()
