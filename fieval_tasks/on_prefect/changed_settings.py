"""Prefect's settings, changed for a block."""

from __future__ import annotations

from typing import Any

from prefect.context import SettingsContext, get_settings_context


def with_settings(group: str, **changes: Any) -> SettingsContext:
    """In the block Prefect goes by these fields of a group of its settings, as `client`.

    Prefect's own `temporary_settings` reads all its settings again, from the environment and from files: 30 ms of CPU
    each time, and while a run is watched there is a call every few seconds.
    """
    context = get_settings_context()
    changed = getattr(context.settings, group).model_copy(update=changes)
    return SettingsContext(profile=context.profile, settings=context.settings.model_copy(update={group: changed}))
