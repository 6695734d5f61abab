"""The story's steps: a step that does not hold ends the story, and the last line says so."""

import asyncio
import io
import json

import pytest

from cli.steps import StepFailed, Story, expect


def test_the_last_line_lists_every_step() -> None:
    out = io.StringIO()
    story = Story(out)

    async def walk() -> None:
        async with story.step("one", "First", limit_s=5) as note:
            note("by QR")
        async with story.step("two", "Second", limit_s=5):
            pass

    asyncio.run(walk())
    story.print_line()
    line = json.loads(out.getvalue().splitlines()[-1])
    assert line["ok"] is True
    assert [step["name"] for step in line["steps"]] == ["one", "two"]
    assert "by QR" in out.getvalue()


def test_a_step_that_does_not_hold_ends_the_story() -> None:
    story = Story(io.StringIO())

    async def walk() -> None:
        async with story.step("one", "First", limit_s=5):
            expect(False, "two messages arrived")

    with pytest.raises(StepFailed):
        asyncio.run(walk())
    assert not story.ok
    assert story.steps[0].note == "two messages arrived"


def test_a_step_that_hangs_is_cut_off() -> None:
    story = Story(io.StringIO())

    async def walk() -> None:
        async with story.step("one", "First", limit_s=0.01):
            await asyncio.Event().wait()

    with pytest.raises(StepFailed):
        asyncio.run(walk())
    assert "not within" in story.steps[0].note


def test_a_story_without_steps_is_not_ok() -> None:
    assert not Story(io.StringIO()).ok
