// The tabs beside Live: each in a module of its own, loaded when first looked at; #dub, #jobs and #keys lead there.

const tabs = [...document.querySelectorAll("#tabs a")];
const loaded = new Map(); // name -> what its module gave

async function show() {
  const name = tabs.map((tab) => tab.hash.slice(1)).find((each) => each === location.hash.slice(1)) ?? "live";
  document.body.dataset.tab = name;
  for (const tab of tabs) {
    const here = tab.hash === `#${name}`;
    if (here) tab.setAttribute("aria-current", "page"); else tab.removeAttribute("aria-current");
    document.getElementById(tab.hash.slice(1)).hidden = !here;
  }
  const section = document.getElementById(name);
  if (name === "live") return;
  if (!loaded.has(name)) {
    for (const kind of ["keydown", "dragover", "dragleave", "drop"]) section.addEventListener(kind, (event) => event.stopPropagation()); // Live listens to the whole page
    loaded.set(name, import(`./${name}.js`).then((module) => module.mount(section)));
  }
  const tab = await loaded.get(name);
  if (!section.hidden) tab.shown();
}

// `understudy live` serves this page too, and works on no tasks.
if ((await fetch("/v1/access").catch(() => null))?.ok) {
  document.getElementById("tabs").hidden = false;
  window.addEventListener("hashchange", show);
  await show();
}
