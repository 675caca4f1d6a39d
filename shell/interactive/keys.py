"""What keys do that differs from prompt_toolkit's own."""

from prompt_toolkit.application import get_app
from prompt_toolkit.buffer import ValidationState
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from .validator import ShellValidator


def bindings(validator: ShellValidator) -> KeyBindings:
    keys = KeyBindings()

    @Condition
    def is_choosing() -> bool:
        state = get_app().current_buffer.complete_state
        return state is not None and state.complete_index is not None and len(state.completions) > 1

    @keys.add("enter", filter=has_focus(DEFAULT_BUFFER) & is_choosing)
    def take(event: KeyPressEvent) -> None:
        """What is chosen in the menu is put into the line, and not run: it may stand behind an `rm`."""
        event.current_buffer.complete_state = None

    @keys.add("enter", filter=has_focus(DEFAULT_BUFFER) & ~is_choosing)
    def run(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        buffer.validation_state = ValidationState.UNKNOWN
        validator.entering = True
        try:
            buffer.validate_and_handle()
        finally:
            validator.entering = False

    return keys
