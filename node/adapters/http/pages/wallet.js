// The browser's wallet (EIP-1193, found by EIP-6963 or as window.ethereum). It alone holds keys and signs.

const REFUSED = 4001;
const UNKNOWN_CHAIN = 4902;
const PATIENCE_S = 300;
const found = new Map();

/** Ask wallets to announce themselves; `changed` is called when one does. */
export function look(changed) {
  addEventListener("eip6963:announceProvider", (event) => {
    const { info, provider } = event.detail ?? {};
    if (!info?.uuid || typeof provider?.request !== "function") return;
    found.set(info.uuid, { name: String(info.name ?? "Wallet").slice(0, 40), provider });
    changed();
  });
  dispatchEvent(new Event("eip6963:requestProvider"));
}

/** List the wallets of this browser. */
export function wallets() {
  const all = [...found.values()];
  const old = globalThis.ethereum;
  if (typeof old?.request === "function" && !all.some((wallet) => wallet.provider === old)) {
    if (!all.length) all.push({ name: old.isMetaMask ? "MetaMask" : "Browser wallet", provider: old });
  }
  return all;
}

/** One connected account. */
export class Account {
  constructor(provider, address, chainId) {
    Object.assign(this, { provider, address, chainId });
  }

  static async connect(provider, changed) {
    const accounts = await provider.request({ method: "eth_requestAccounts" });
    if (!accounts?.length) throw new Error("the wallet showed no account");
    const account = new Account(provider, accounts[0], await chainOf(provider));
    provider.on?.("accountsChanged", (now) => {
      account.address = now[0] ?? null;
      changed();
    });
    provider.on?.("chainChanged", (now) => {
      account.chainId = Number(now);
      changed();
    });
    return account;
  }

  /** Have the wallet use this chain, and add it where it does not know it. */
  async useChain(chain) {
    const chainId = `0x${chain.chain_id.toString(16)}`;
    try {
      await this.provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
    } catch (error) {
      const code = error.code ?? error.data?.originalError?.code;
      if (code !== UNKNOWN_CHAIN) throw error;
      if (!chain.rpc_url) {
        throw new Error(`your wallet does not know chain ${chain.chain_id} (${chain.name}): add it there by hand`);
      }
      const nativeCurrency = { name: chain.coin, symbol: chain.coin, decimals: 18 };
      await this.provider.request({
        method: "wallet_addEthereumChain",
        params: [{ chainId, chainName: chain.name, rpcUrls: [chain.rpc_url], nativeCurrency }],
      });
    }
    this.chainId = await chainOf(this.provider);
    if (this.chainId !== chain.chain_id) throw new Error("the wallet is still on another chain");
  }

  /** Have one transaction signed and sent, and wait until it is in a block. */
  async send(step, sent) {
    const transaction = { from: this.address, to: step.to, data: step.data, gas: `0x${step.gas_limit.toString(16)}`, value: "0x0" };
    const hash = await this.provider.request({ method: "eth_sendTransaction", params: [transaction] });
    sent(hash);
    for (const end = Date.now() + PATIENCE_S * 1000; Date.now() < end; ) {
      const receipt = await this.provider.request({ method: "eth_getTransactionReceipt", params: [hash] });
      if (receipt) {
        if (Number(receipt.status) !== 1) throw new Error("the contract refused it after all; the gas is spent, nothing else changed");
        return receipt;
      }
      await new Promise((resolve) => setTimeout(resolve, 800));
    }
    throw new Error(`not in a block after ${PATIENCE_S / 60} minutes; it may still come: look into your wallet`);
  }
}

const chainOf = async (provider) => Number(await provider.request({ method: "eth_chainId" }));

/** Say what went wrong in a person's words; `coin` is what the chain takes for gas. */
export function words(error, coin = "of the chain’s own coin") {
  const code = error?.code ?? error?.data?.originalError?.code;
  if (code === REFUSED) return "You said no in your wallet. Nothing was sent.";
  if (code === -32002) return "Your wallet waits for you already: open it.";
  const text = error?.data?.message ?? error?.message ?? String(error);
  if (/insufficient funds/i.test(text)) return `Your account has too little ${coin} to pay for the gas. Send it some, then try again.`;
  const reason = /(?:Staking|Faucet|ERC20|erc20|Settlement): [^"'\n]+/.exec(text);
  return reason ? `The contract refuses: ${reason[0]}` : String(text).slice(0, 400);
}
