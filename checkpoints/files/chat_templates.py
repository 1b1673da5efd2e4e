"""Whether a model has a chat template, by its files. Imports no torch."""

import json
from pathlib import Path
from typing import Any, Final

from checkpoints.errors import UnusableModel

TEMPLATE_FILE: Final = "chat_template.jinja"
TEMPLATE_FOLDER: Final = "additional_chat_templates"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
PROCESSOR_TEMPLATE: Final = "chat_template.json"
"""Of models that see as well: a file of the processor's, from which `checkpoints.load` takes it for the tokenizer."""


def has_chat_template(directory: Path) -> bool:
    """Whether a model's tokenizer has a template once it is loaded, wherever that is read from.

    Raises:
        UnusableModel: its configuration cannot be read.
    """
    if (directory / TEMPLATE_FILE).is_file() or any((directory / TEMPLATE_FOLDER).glob("*.jinja")):
        return True
    return any(_configured(directory / name).get("chat_template") for name in (TOKENIZER_CONFIG, PROCESSOR_TEMPLATE))


def _configured(path: Path) -> dict[str, Any]:
    try:
        configuration = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UnusableModel(f"{path} cannot be read: {error}") from error
    return configuration if isinstance(configuration, dict) else {}
