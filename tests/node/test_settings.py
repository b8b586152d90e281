"""Every wrong setting is one line that names the flag or the file and key, and the fix."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from node.apps.gateway import reviewers_of, takes_sealed
from node.config.configuration import example_file, load_params, load_settings, load_with_origins, model_folders_from
from node.config.setting_faults import FLAGS
from node.config.shown_settings import shown_settings, without_secrets
from node.config.toml_text import toml_text
from node.miner_engine import engine_settings
from node.policies import recheck_policy
from node.settings import EngineSection, NodeRole, Section, Settings
from protocol.crypto.keys import NodeKey
from protocol.errors import ConfigError
from protocol.params import Params
from protocol.roles.coordinator.sampling import RecheckPolicy
from tests.node.test_network_file import NETWORK

ROOT = Path(__file__).parents[2]
ENTRY = f"/ip4/127.0.0.1/tcp/4001/p2p/{NodeKey(bytes([1]) * 32).peer_id}"
STAKING = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
GOOD = f"""
role = "miner"
data = "state"
params = "minimal"
[chain]
rpc_urls = ["http://127.0.0.1:8545"]
chain_id = 31337
staking = "{STAKING}"
[overlay]
bootstrap = ["{ENTRY}"]
"""


@pytest.fixture
def write(tmp_path):
    """Writes a settings file and gives its path."""

    def write_file(text: str) -> Path:
        path = tmp_path / "node.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def fault_of(path: Path | None, flags: dict[str, object] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, flags or {}, {})
    return str(caught.value)


def test_load_settings__good_file__defaults_filled_in(write):
    path = write(GOOD)
    settings = load_settings(path, {}, {})
    assert settings.role is NodeRole.MINER
    assert settings.data == path.parent / "state"
    assert settings.keystore == path.parent / "state" / "key.json"
    assert settings.params.name == "devnet"
    assert settings.engine.models == ("pocket-emoji",)
    assert settings.chain.staking_address == bytes.fromhex(STAKING[2:])


def test_recheck_policy__of_settings__is_the_protocols_own_by_default_and_none_for_nothing(write):
    coordinator = GOOD.replace('"miner"', '"coordinator"')
    assert recheck_policy(load_settings(write(coordinator), {}, {})) == RecheckPolicy()
    off = coordinator + "[coordinator]\nrecheck_percent = 0\nrecheck_newcomer_percent = 0\n"
    assert recheck_policy(load_settings(write(off), {}, {})) is None
    quick = coordinator + "[coordinator]\nrecheck_within_s = 20\nrecheck_percent = 0.5\n"
    policy = recheck_policy(load_settings(write(quick), {}, {}))
    assert policy == replace(RecheckPolicy(), share=0.005, earliest=2000, latest=20_000)


def test_load_settings__flags_and_file__flag_wins(write):
    settings = load_settings(
        write(GOOD), {"engine.kind": "instant", "overlay.listen": ["/ip4/0.0.0.0/tcp/7"], "data": Path("here")}, {}
    )
    assert settings.engine.kind == "instant"
    assert settings.overlay.listen == ("/ip4/0.0.0.0/tcp/7",)
    assert settings.data == Path.cwd() / "here"


def test_load_settings__flags_alone__enough():
    flags = {
        "role": "bootstrap",
        "chain.rpc_urls": ["http://a:1"],
        "chain.chain_id": 1,
        "chain.staking": STAKING,
        "engine.models": None,
    }
    settings = load_settings(None, flags, {})
    assert settings.data == Path.home() / ".cuckoo" / "bootstrap"
    assert settings.params.name == "mainnet"


def test_load_settings__network_of_the_environment__only_where_nothing_else_is_said(write, tmp_path):
    environ = {"CUCKOO_NETWORK": str(tmp_path / "network.toml")}
    NETWORK.write(tmp_path / "network.toml")
    settings = load_settings(None, {"role": "bootstrap"}, environ)
    assert settings.chain.rpc_urls == NETWORK.chain.rpc_urls
    flags = {"role": "bootstrap", "chain.rpc_urls": ["http://a:1"], "chain.chain_id": 1, "chain.staking": STAKING}
    assert load_settings(None, flags, environ).chain.rpc_urls == ("http://a:1",)
    assert load_settings(write(GOOD), {}, environ).chain.rpc_urls == ("http://127.0.0.1:8545",)


REPLACEMENTS = [
    # what, by what, the whole line behind the file's name
    ('role = "miner"', 'role = "worker"', "role: 'worker' is not one of bootstrap, coordinator, miner"),
    ('data = "state"', 'dat = "state"', "dat: unknown key (did you mean 'data'?)"),
    ('params = "minimal"', "params = 3", "params: must be text: a network's name, or FILE.toml"),
    ("chain_id = 31337", 'chain_id = "31337"', "chain.chain_id: must be a whole number, not '31337'"),
    ("chain_id = 31337", "chain_id = 0", "chain.chain_id: 0 is too small: at least 1"),
    ("chain_id = 31337", "chain_id = 1\nchainid = 1", "chain.chainid: unknown key (did you mean 'chain_id'?)"),
    (f'"{STAKING}"', '"0x12"', "chain.staking: '0x12' is no Ethereum address: write 0x and 40 hexadecimal digits"),
    (
        f'"{STAKING}"',
        '"0x5FbDB2315678afecb367f032d93F642f64180aa4"',
        "chain.staking: '0x5FbDB2315678afecb367f032d93F642f64180aa4' has a wrong checksum: "
        "copy the address again, a character is off",
    ),
    (
        '"http://127.0.0.1:8545"',
        '"127.0.0.1:8545"',
        "chain.rpc_urls: '127.0.0.1:8545' is no HTTP address: write it as http://host:port or https://host/path",
    ),
    (
        f'"{ENTRY}"',
        '"localhost:4001"',
        "overlay.bootstrap: 'localhost:4001' is no multiaddress: "
        "write it as the bootstrap prints it: /ip4/HOST/tcp/PORT/p2p/PEER_ID",
    ),
    (
        f'"{ENTRY}"',
        '"/ip4/127.0.0.1/tcp/4001"',
        "overlay.bootstrap: '/ip4/127.0.0.1/tcp/4001' does not end in /p2p/PEER_ID: "
        "write it as the bootstrap prints it: /ip4/HOST/tcp/PORT/p2p/PEER_ID",
    ),
    (
        "[overlay]",
        '[overlay]\nlisten = ["0.0.0.0:1"]',
        "overlay.listen: '0.0.0.0:1' is no multiaddress: write it as /ip4/0.0.0.0/tcp/4001",
    ),
    ("[overlay]", '[overlay]\nlisten = "x"', "overlay.listen: must be a list in [ ], not 'x'"),
    (
        "[overlay]",
        '[overlay]\nrelays = ["/ip4/127.0.0.1/tcp/4001"]',
        "overlay.relays: '/ip4/127.0.0.1/tcp/4001' does not end in /p2p/PEER_ID: "
        "write it as the bootstrap prints it: /ip4/HOST/tcp/PORT/p2p/PEER_ID",
    ),
    ("[overlay]", "[overlay]\nrelay_circuits = 0", "overlay.relay_circuits: 0 is too small: a"),
    (
        "[overlay]",
        "[overlay]\nrelay = true",
        "overlay.relay: a miner carries nobody's connections: leave it out",
    ),
    ("[overlay]", '[engine]\nkind = "fast"\n[overlay]', "engine.kind: 'fast' is not one of 'diffusion', 'instant'"),
    ("[overlay]", '[engine]\ndevice = "gpu"\n[overlay]', "engine.device: 'gpu' is not auto, cpu, cuda or one of"),
    ("[overlay]", "[engine]\nthreads = 1.5\n[overlay]", "engine.threads: must be a whole number, not 1.5"),
    ("[overlay]", "[engine]\nthreads = true\n[overlay]", "engine.threads: must be a whole number, not True"),
    (
        "[overlay]",
        '[content]\nhook = "https://example.org"\n[overlay]',
        "content: only a coordinator reads this, and the role is miner: leave it out",
    ),
    (
        "[overlay]",
        "[http]\nport = 1\n[overlay]",
        "http: only a coordinator reads this, and the role is miner: leave it out",
    ),
    (
        "[overlay]",
        "[submit]\nenabled = false\n[overlay]",
        "submit: only a coordinator reads this, and the role is miner: leave it out",
    ),
    ('role = "miner"', 'rolle = "miner"', "rolle: unknown key (did you mean 'role'?)"),
    ("[overlay]", "[what]\nport = 1\n[overlay]", "what: unknown key: known are role, data, params, network, catalog"),
    ("[chain]", "logs = 3\n[chain]", "logs: must be a [section], not 3"),
    ("[chain]", 'exit_with_stdin = "yes"\n[chain]', "exit_with_stdin: must be true or false, not 'yes'"),
    ("[chain]", 'catalog = "none.toml"\n[chain]', "catalog: {folder}/none.toml does not exist"),
    (
        "[overlay]",
        '[engine.model_folders]\npocket-emoji = "none"\n[overlay]',
        "engine.model_folders: pocket-emoji: the folder {folder}/none does not exist",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "line"), REPLACEMENTS, ids=[new.split("\n")[-2:][0] for _, new, _ in REPLACEMENTS]
)
def test_load_settings__bad_value_in_file__one_line(write, old, new, line):
    path = write(GOOD.replace(old, new, 1))
    found = fault_of(path)
    assert found.startswith(f"{path}: {line.format(folder=path.parent)}")
    assert "\n" not in found


@pytest.mark.parametrize("key", ["role", "chain.staking", "chain.chain_id", "chain.rpc_urls", "overlay.bootstrap"])
def test_load_settings__missing_key__says_where_to_set_it(write, key):
    leaf = key.rpartition(".")[2]
    path = write("\n".join(line for line in GOOD.splitlines() if not line.startswith(f"{leaf} ")))
    assert fault_of(path) == f"{key} is missing: set it in {path}, or give {FLAGS[key]}"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"role": "worker"}, "--role: 'worker' is not one of bootstrap, coordinator, miner"),
        ({"http.port": 1}, "--http-port: only a coordinator reads this, and the role is miner: leave it out"),
        (
            {"role": "coordinator", "content.hook": "http://example.org/review"},
            "content.hook: 'http://example.org/review' would send prompts over the network in clear: "
            "use https, or 127.0.0.1",
        ),
        ({"role": "coordinator", "content.hook_limit_s": 0.0}, "content.hook_limit_s: 0.0 is too small: at least 0.1"),
        (
            {"role": "coordinator", "portal.chain_coin": "E-TH"},
            "portal.chain_coin: 'E-TH' is not made of letters and digits alone",
        ),
        ({"engine.threads": -1}, "--threads: -1 is too small: at least 0"),
        ({"logs.level": "loud"}, "--log-level: 'loud' is not one of 'debug', 'info', 'warning', 'error'"),
        (
            {"params": "moon"},
            "params: no network is called 'moon': give one of mainnet, minimal, testnet, or FILE.toml",
        ),
        (
            {"params": "devnet"},
            "params: no network is called 'devnet': give one of mainnet, minimal, testnet, or FILE.toml; "
            "a devnet's are called minimal",
        ),
    ],
)
def test_load_settings__bad_flag__names_the_flag(write, flags, line):
    assert fault_of(write(GOOD), flags) == line


@pytest.mark.parametrize("origin", ["app.example", "https://app.example/", "https://*.example", "ftp://x", "https://"])
def test_load_settings__no_origin__says_how_one_is_written(write, origin):
    path = write(
        GOOD.replace('"miner"', '"coordinator"') + f'[http]\ncors_origins = ["https://a.example:8", "{origin}"]\n'
    )
    problem = f"{origin!r} is no origin: write it as https://app.example.org, without a path, or *"
    assert fault_of(path) == f"{path}: http.cors_origins: {problem}"


@pytest.mark.parametrize(
    ("section", "required"),
    [
        ("", False),
        ('host = "localhost"', False),
        ('host = "::1"', False),
        ('host = "0.0.0.0"', True),
        ('host = "pictures.example"', True),
        ('public_url = "https://pictures.example"', True),
        ('trusted_proxies = ["127.0.0.1"]', True),
        ('host = "0.0.0.0"\nrequire_key = false', False),
        ("require_key = true", True),
    ],
)
def test_load_settings__nothing_said_of_keys__only_this_machine_needs_none(write, section, required):
    text = GOOD.replace('"miner"', '"coordinator"')
    settings = load_settings(write(f"{text}\n[http]\n{section}\n"), {}, {})
    assert settings.requires_key is required
    assert settings.api_keys_file == settings.data / "api-keys.json"


@pytest.mark.parametrize(
    ("overlay", "submit", "required"),
    [
        ("", "", False),
        ('listen = ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"]', "", False),
        ('listen = ["/ip4/127.0.0.1/tcp/1", "/ip4/0.0.0.0/tcp/1"]', "", True),
        ('announce = ["/dns4/pictures.example/tcp/1"]', "", True),
        (f'relays = ["{ENTRY}"]', "", True),
        ('listen = ["/ip4/0.0.0.0/tcp/1"]', "require_key = false", False),
        ("", "require_key = true", True),
    ],
)
def test_load_settings__nothing_said_of_keys_to_submit__only_this_machine_needs_none(write, overlay, submit, required):
    text = GOOD.replace('"miner"', '"coordinator"')
    settings = load_settings(write(f"{text}{overlay}\n[submit]\n{submit}\n"), {}, {})
    assert settings.requires_key_to_submit is required


@pytest.mark.parametrize(
    ("content", "submit", "taken"),
    [
        ("", "", True),
        ("", "sealed = false", False),
        ("", "sealed = true", True),
        ('refused_words = ["word"]', "", False),
        ('hook = "http://127.0.0.1:1/"', "", False),
        ('safety_checker = "/nowhere"', "sealed = false", False),
    ],
)
def test_takes_sealed__nothing_said__only_where_nobody_looks_at_what_is_ordered(write, content, submit, taken):
    text = GOOD.replace('"miner"', '"coordinator"')
    settings = load_settings(write(f"{text}\n[submit]\n{submit}\n[content]\n{content}\n"), {}, {})
    assert takes_sealed(settings) is taken


def test_takes_sealed__wanted_where_somebody_is_to_look__is_refused(write):
    text = GOOD.replace('"miner"', '"coordinator"')
    path = write(f'{text}\n[submit]\nsealed = true\n[content]\nrefused_words = ["word"]\n')
    settings = load_settings(path, {}, {})
    for check in (takes_sealed, reviewers_of):
        with pytest.raises(ConfigError, match=r"^submit\.sealed: nobody can look"):
            check(settings)


def test_load_settings__no_such_file__one_line(tmp_path):
    assert fault_of(tmp_path / "none.toml") == f"{tmp_path}/none.toml: no such file"


def test_load_settings__not_toml__one_line_with_place(write):
    path = write("role = miner\n")
    assert fault_of(path).startswith(f"{path}: not valid TOML: ")


def test_load_settings__binary_or_huge_file__one_line(write):
    path = write("")
    path.write_bytes(b"\xff\xfe\x00")
    assert "not valid TOML" in fault_of(path)
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    assert "which no settings file or catalog is" in fault_of(path)


def test_load_settings__systemd_credential__is_the_password_file(write, tmp_path):
    (tmp_path / "cuckoo-password").write_text("secret")
    settings = load_settings(write(GOOD), {}, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings.key.password_file == tmp_path / "cuckoo-password"
    given = load_settings(write(GOOD), {"key.password_file": Path("/x")}, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert given.key.password_file == Path("/x")


def test_load_settings__tracing_without_opentelemetry__says_what_to_install(write, monkeypatch):
    path = write(GOOD + '[tracing]\nendpoint = "http://127.0.0.1:4318/v1/traces"\n')
    assert load_settings(path, {}, {}).tracing.share == 1.0
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name.startswith("opentelemetry") else object())
    line = "tracing.endpoint: OpenTelemetry is missing: install it with pip install 'cuckoo-overlay[otel]'"
    assert fault_of(path) == f"{path}: {line}"


def test_load_settings__systemd_credential_of_the_gas_key__counts_where_there_is_one(write, tmp_path):
    (tmp_path / "cuckoo-gas-password").write_text("secret")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert load_settings(write(GOOD), {}, environ).chain.gas_password_file is None
    path = write(GOOD.replace("[chain]", '[chain]\ngas_keystore = "gas.json"'))
    assert load_settings(path, {}, environ).chain.gas_password_file == tmp_path / "cuckoo-gas-password"


def test_load_with_origins__several_sources__each_key_says_its_own(write, tmp_path):
    (tmp_path / "cuckoo-password").write_text("secret")
    NETWORK.write(tmp_path / "network.toml")
    head, _, _ = GOOD.partition("[chain]")
    path = write(head.replace('params = "minimal"', 'network = "network.toml"') + "[logs]\nlevel = 'debug'\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    loaded = load_with_origins(path, {"engine.threads": 3, "engine.device": None}, environ)
    origins = loaded.origins
    assert {key: origins.get(key) for key in ("role", "logs.level", "engine.threads", "engine.device", "data")} == {
        "role": str(path),
        "logs.level": str(path),
        "engine.threads": "--threads",
        "engine.device": None,
        "data": str(path),
    }
    assert (
        origins["chain.staking"] == origins["overlay.bootstrap"] == origins["params"] == str(tmp_path / "network.toml")
    )
    assert origins["key.password_file"] == "systemd credential"


def test_shown_settings__addresses_that_hold_keys__are_cut(write):
    secret = "k3y"
    path = write(
        GOOD.replace('"http://127.0.0.1:8545"', f'"https://rpc.example/v2/{secret}", "http://a:{secret}@b:1"')
        + f'[tracing]\nendpoint = "http://c:4318/v1/traces?key={secret}"\n'
    )
    shown = {one.key: one for one in shown_settings(load_with_origins(path, {}, {}))}
    assert secret not in str(shown)
    assert shown["chain.rpc_urls"].value == ["https://rpc.example/…", "http://b:1/…"]
    assert shown["tracing.endpoint"].value == "http://c:4318/v1/traces/…"
    assert without_secrets("http://b:1/", keep_path=False) == "http://b:1"


def test_load_settings__extra_not_installed__says_what_to_install(write, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    path = write(GOOD)
    assert fault_of(path) == "role miner needs torch: install it with pip install 'cuckoo-overlay[miner]'"
    found = fault_of(path, {"role": "coordinator"})
    assert found == "role coordinator needs fastapi: install it with pip install 'cuckoo-overlay[coordinator]'"
    assert load_settings(path, {"engine.kind": "instant"}, {}).engine.kind == "instant"


@pytest.mark.parametrize("pair", ["a", "=b", "a="])
def test_model_folders_from__wrong_form__one_line(pair):
    with pytest.raises(ConfigError, match=r"^--model-folder: .* does not have the form MODEL=FOLDER$"):
        model_folders_from([pair])


@pytest.mark.parametrize("name", ["mainnet", "testnet", "minimal"])
def test_load_params__shipped__states_every_number(name):
    stated = tomllib.loads((ROOT / "configs/params" / f"{name}.toml").read_text(encoding="utf-8"))
    assert set(stated) == set(Params.model_fields)
    assert load_params(name).model_dump() == stated


def test_load_params__shipped__customised_marks_what_differs_from_mainnet():
    mainnet = load_params("mainnet").model_dump()
    for name in ("testnet", "minimal"):
        for line in (ROOT / "configs/params" / f"{name}.toml").read_text(encoding="utf-8").splitlines():
            key, equals, _ = line.partition(" = ")
            if equals and not line.startswith("#") and key != "name":
                differs = load_params(name).model_dump()[key] != mainnet[key]
                assert ("[customised]" in line) is differs, line


def test_load_params__number_out_of_range__names_file_and_key(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text((ROOT / "configs/params/minimal.toml").read_text().replace("lease_ms = 3_000", "lease_ms = 3"))
    with pytest.raises(ConfigError, match=r"own\.toml: lease_ms: 3 is too small: at least 500$"):
        load_params(str(path))


@pytest.mark.parametrize("name", ["bootstrap", "coordinator", "miner", "devnet"])
def test_example_file__every_role__loads(name):
    settings = load_settings(example_file(name), {}, {})
    assert settings.role == ("miner" if name == "devnet" else name)


def documented_keys() -> set[str]:
    keys = set()
    for path in (ROOT / "configs/nodes").glob("*.toml"):
        section = ""
        for raw in path.read_text(encoding="utf-8").splitlines():
            line = raw.removeprefix("# ")
            if line.startswith("["):
                section = line.strip("[]") + "."
            key, equals, _ = line.partition(" = ")
            if equals and key.replace("_", "").isalpha():
                keys.add(f"{section}{key}")
    return keys


def known_keys() -> set[str]:
    keys = set()
    for name, entry in Settings.model_fields.items():
        kind = entry.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            keys |= {f"{name}.{leaf}" for leaf in kind.model_fields}
        else:
            keys.add(name)
    return keys


def test_examples__together__document_every_key():
    missing = known_keys() - documented_keys() - {"engine.model_folders"}  # it is a section of its own there
    assert not missing


def test_flags__each__sets_a_known_key():
    assert set(FLAGS) <= known_keys()


def test_toml_text__awkward_values__read_back():
    tree = {"a": 'q"\\\n\x7fü', "b": True, "c": 1.5, "d": ["x", 2], "s": {"path": "/srv/with space"}}
    assert tomllib.loads(toml_text(tree)) == tree


def test_toml_text__no_value_of_toml__type_error():
    with pytest.raises(TypeError, match="NoneType"):
        toml_text({"a": None})


def test_load_settings__several_places__only_with_instant(write):
    path = write(GOOD + '[engine]\nkind = "instant"\nplaces = 64\n')
    assert load_settings(path, {}, {}).engine.places == 64
    assert fault_of(path, {"engine.places": 65}).startswith("--places: ")
    path = write(GOOD + "[engine]\nplaces = 2\n")
    assert fault_of(path) == f"{path}: engine.places: only instant draws several pictures at once: leave it out"


def test_load_settings__trusted_proxies__are_addresses_or_networks(write):
    coordinator = GOOD.replace('"miner"', '"coordinator"')
    path = write(coordinator + '[http]\ntrusted_proxies = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]\n')
    assert load_settings(path, {}, {}).http.trusted_proxies == ("127.0.0.1", "10.0.0.0/8", "fd00::/8")
    for wrong in ("10.0.0.1/8", "proxy.example", ""):
        fault = fault_of(write(coordinator + f'[http]\ntrusted_proxies = ["{wrong}"]\n'), {})
        assert "http.trusted_proxies" in fault
        assert "no IP address or network" in fault


def test_engine_settings__every_choice_of_a_person__reaches_the_engine():
    chosen = EngineSection(
        kind="instant",
        models=("a",),
        model_folders={"a": ROOT},
        pulled_models=ROOT,
        pulled_limit_gb=1.0,
        threads=3,
        engines_on_machine=2,
        device="cuda:1",
        precision="float16",
        channels_last="on",
        compile="on",
        attention="sliced",
        offload="model",
        memory_limit_gb=7.5,
        models_in_memory=2,
        batch=8,
        delay_ms=5,
        places=4,
    )
    assert {
        name for name in EngineSection.model_fields if getattr(chosen, name) == getattr(EngineSection(), name)
    } == set()
    settings = load_settings(example_file("miner"), {}, {}).model_copy(update={"engine": chosen})
    engine = engine_settings(settings)
    of_the_disk = {"pulled_limit_gb"}  # `cuckoo models pull` heeds it
    for name in EngineSection.model_fields.keys() - of_the_disk:
        assert getattr(engine, name) == getattr(chosen, name), name
    assert engine.wanted.memory_limit_bytes == 7_500_000_000
