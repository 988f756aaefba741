"""The topic browser in the config: its state and its limits, and that a whole agent has one."""

import asyncio
from pathlib import Path

import pytest

from setpoint.agent import Agent
from setpoint.agent.config import read_config
from setpoint.namespace import Message
from setpoint.workers.topic_browser import TopicBrowserSpec

AGENT = "agent:\n  location: {0: acme}\n"
PATH = "agent/topic_browser"


@pytest.mark.parametrize(
    ("section", "spec"),
    [
        ("", TopicBrowserSpec()),
        ("{name: topicbrowser, desiredState: active}", TopicBrowserSpec()),
        ("{desiredState: stopped}", TopicBrowserSpec(desired_state="stopped")),
        ("{maxTopics: 500, history: '3', serviceConfig: {}}", TopicBrowserSpec(max_topics=500, history=3)),
    ],
)
def test_the_section_is_read(section: str, spec: TopicBrowserSpec) -> None:
    """A file of UMH Core loads without a remark, and what it asks for is what is wanted."""
    configuration = read_config(AGENT + (f"internal:\n  topicbrowser: {section}\n" if section else ""))
    assert configuration.problems == ()
    assert configuration.topic_browser == spec


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("{maxTopics: 0}", "a whole number from 1 to 1000000"),
        ("{history: many}", "a whole number from 1 to 1000"),
        ("{maxTopic: 5}", "did you mean 'maxTopics'?"),
        ("{desiredState: paused}", "expected active or stopped"),
    ],
)
def test_a_mistake_is_named(section: str, says: str) -> None:
    """With what was expected."""
    (problem,) = read_config(f"{AGENT}internal:\n  topicbrowser: {section}\n").errors
    assert says in str(problem)


def test_a_whole_agent_follows_its_log_and_stops_when_the_file_says_so(tmp_path: Path) -> None:
    """By default it runs; an edit stops it and another brings it back; nothing is left when the agent ends."""
    file = tmp_path / "config.yaml"
    stopped = "internal:\n  topicbrowser: {desiredState: stopped}\n"

    async def main() -> None:
        file.write_text(AGENT)
        agent = Agent(file, data=tmp_path / "data", env={})

        async def reach(state: str) -> None:
            assert await agent.supervisor.until(lambda s: s.core.fact(PATH).state == state, 15)

        await agent.start()
        await reach("idle")
        await agent.broker.publish([Message("umh.v1.acme._raw.x", b"1")])
        await reach("active")
        assert agent.browser.index.names() == ["umh.v1.acme._raw.x"]
        file.write_text(AGENT + stopped)
        await agent.reload()
        await reach("stopped")
        assert len(agent.browser.index) == 0
        file.write_text(AGENT)
        await agent.reload()
        await reach("idle")
        assert agent.browser.index.names() == ["umh.v1.acme._raw.x"]
        assert await agent.stop() == []
        assert not agent.browser.status().running

    asyncio.run(asyncio.wait_for(main(), 60))
