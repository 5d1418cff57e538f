"""The bound on the values that hosts become in metrics."""

from seawall.integrations._labels import OTHER, Hosts


def test_the_first_hosts_keep_their_names():
    """Of 10,000 hosts the first 100 have values of their own, for good, and the rest share one."""
    label = Hosts()
    values = [label(f"h{n}.test") for n in range(10_000)]
    assert values[:100] == [f"h{n}.test" for n in range(100)]
    assert set(values[100:]) == {OTHER}
    assert [label("h7.test"), label("h7000.test")] == ["h7.test", OTHER]


def test_known_hosts_always_have_a_value():
    """A host that the settings name keeps its name after any number of others, and takes no other host's place."""
    label = Hosts(["api.test", "api.test"], limit=2)
    assert [label(host) for host in ("a", "b", "c", "api.test")] == ["a", "b", OTHER, "api.test"]


def test_a_limit_of_zero():
    """With a limit of 0 only known hosts have a value."""
    label = Hosts(["api.test"], limit=0)
    assert [label("api.test"), label("a")] == ["api.test", OTHER]
