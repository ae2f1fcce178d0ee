// Keys: the one this browser uses, and, at the server's own machine, those that are made and revoked.

import { Status, make } from "./make.js";
import { ask, currentKey, useKey } from "./service.js";

export function mount(section) {
  const keys = new Keys();
  section.replaceChildren(keys.status.element, keys.own, keys.making, keys.made, keys.list, make("p", {}, "What programs may ask: ", make("a", { href: "/docs" }, "the HTTP interface"), "."));
  return { shown: () => keys.load() };
}

class Keys {
  constructor() {
    this.status = new Status();
    this.mine = make("input", { type: "password", id: "own-key", value: currentKey(), autocomplete: "off", spellcheck: false, placeholder: "key_…" });
    this.own = make("form", { className: "panel", onsubmit: (event) => this.use(event) },
      make("label", { htmlFor: "own-key" }, "The key that this browser uses", this.mine),
      make("div", { className: "row end" }, make("button", { type: "submit" }, "Use it"), make("button", { type: "button", onclick: (event) => { this.mine.value = ""; this.use(event); } }, "Forget it")));
    this.owner = make("input", { type: "text", id: "key-owner", required: true, maxLength: 80, autocomplete: "off", placeholder: "Who it is for" });
    this.tier = make("select", { id: "key-tier" });
    this.credits = make("input", { type: "number", id: "key-credits", min: 0, max: 1e9, step: 1, value: 10000, required: true });
    this.making = make("form", { className: "panel", hidden: true, onsubmit: (event) => this.make(event) },
      make("label", { htmlFor: "key-owner" }, "Account", this.owner), make("label", { htmlFor: "key-tier" }, "Tier", this.tier),
      make("label", { htmlFor: "key-credits" }, "Credits to begin with", this.credits),
      make("div", { className: "row end" }, make("button", { type: "submit", className: "first" }, "Make a key")));
    this.made = make("div", { className: "panel made", hidden: true });
    this.list = make("ul", { className: "jobs", "aria-label": "Keys" });
    this.listed = null;
  }

  async load() {
    try {
      const access = this.access = await ask("GET", "/v1/access");
      this.mine.value = currentKey();
      this.own.hidden = !access.needsKey && !currentKey();
      this.making.hidden = !access.mayManageKeys;
      this.list.hidden = !access.mayManageKeys;
      if (!this.tier.options.length) this.tier.replaceChildren(...access.tiers.map((name) => make("option", { value: name, selected: name === "studio" }, name)));
      this.tell(access, access.needsKey && access.isLetIn ? await ask("GET", "/v1/organization") : null);
      if (access.mayManageKeys) this.show(await ask("GET", "/v1/keys"));
    } catch (error) {
      this.status.fail(error);
    }
  }

  tell({ needsKey, isLetIn, mayManageKeys }, account) {
    if (!needsKey && isLetIn) this.status.say("No key has been made: only this machine is let in, and needs none. From the first key on, everybody needs one.");
    else if (!needsKey) this.status.say("No key has been made, so only the server's own machine is let in. Make one there: understudy keys create NAME.", true);
    else if (!isLetIn) this.status.say(currentKey() ? "The key that this browser uses is not known, or was revoked. Enter another." : "This server wants a key. Enter the one you were given.", true);
    else this.status.say(`Your key is good: tier ${account.tier.name}, ${account.creditBalance} credits left.${mayManageKeys ? "" : " Keys are made and revoked at the server's own machine."}`);
  }

  show(keys) {
    const now = keys.map((key) => `${key.id} ${key.revokedAt}`).join();
    if (now === this.listed) return; // a button that was pressed once stays so
    this.listed = now;
    this.list.replaceChildren(...keys.reverse().map((key) => this.line(key)));
  }

  line(key) {
    const revoke = make("button", { type: "button", "aria-label": `Revoke the key ${key.id} of ${key.owner}` }, "Revoke");
    revoke.onclick = () => {
      if (revoke.dataset.sure) return this.revoke(key);
      revoke.dataset.sure = "yes";
      revoke.textContent = "Revoke for good";
      revoke.onblur = () => { delete revoke.dataset.sure; revoke.textContent = "Revoke"; };
    };
    const day = (time) => new Date(time).toLocaleDateString([], { dateStyle: "medium" });
    return make("li", { className: "panel", "data-status": key.revokedAt ? "CANCELLED" : "" },
      make("div", { className: "head" }, make("strong", {}, key.owner), make("span", {}, key.tier), make("code", {}, `key_${key.id}…`), make("span", {}, `made ${day(key.createdAt)}`),
        make("span", { className: "state" }, key.revokedAt ? `revoked ${day(key.revokedAt)}` : revoke)));
  }

  async use(event) {
    event.preventDefault();
    useKey(this.mine.value);
    await this.load();
  }

  async make(event) {
    event.preventDefault();
    const isFirst = !this.access.needsKey;
    try {
      const key = await ask("POST", "/v1/keys", { owner: this.owner.value.trim(), tier: this.tier.value, credits: Number(this.credits.value) });
      if (isFirst) useKey(key.secret); // or this page would be shut out by what it made
      this.present(key, isFirst);
      this.owner.value = "";
      await this.load();
    } catch (error) {
      this.status.fail(error);
    }
  }

  present(key, isFirst) {
    const secret = make("input", { type: "text", readOnly: true, value: key.secret, "aria-label": `The new key of ${key.owner}`, onfocus: () => secret.select() });
    const copy = make("button", { type: "button", className: "first" }, "Copy");
    copy.onclick = async () => {
      try {
        await navigator.clipboard.writeText(key.secret);
        copy.textContent = "Copied";
      } catch {
        secret.focus(); // it is selected now
        copy.textContent = "Press Ctrl+C";
      }
    };
    this.made.replaceChildren(
      make("p", {}, make("strong", {}, `The key of ${key.owner}. It is shown this once: copy it now.`), isFirst ? " This browser uses it from now on." : ""),
      make("div", { className: "row" }, secret, copy, make("button", { type: "button", onclick: () => { this.made.hidden = true; this.made.replaceChildren(); } }, "I have it")));
    this.made.hidden = false;
    copy.focus();
  }

  async revoke(key) {
    try {
      await ask("DELETE", `/v1/keys/${key.id}`);
      await this.load();
    } catch (error) {
      this.status.fail(error);
    }
  }
}
