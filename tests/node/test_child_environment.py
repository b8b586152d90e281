from node.child_environment import child_environment


def test_child_environment__settings_of_the_node__stay_with_it():
    ours = {"PATH": "/bin", "CUCKOO_GAS_PASSWORD": "secret", "OMP_NUM_THREADS": "64"}
    given = child_environment(2, ours)
    assert given["PATH"] == "/bin"
    assert given["OMP_NUM_THREADS"] == "2"
    assert not [name for name in given if name.startswith("CUCKOO_")]
    assert "secret" not in given.values()
