// Without this script the page is whole: names then show as the browser's own tooltips.
(() => {
  const tip = document.getElementById("tip");
  const panels = [...document.querySelectorAll(".scatter")].map((chart) => [...chart.querySelectorAll("circle")]);
  const texts = new Map();
  let lit = [];
  for (const title of document.querySelectorAll(".chart title")) {
    texts.set(title.parentNode, title.textContent);
    title.remove();
  }
  const leave = () => {
    tip.hidden = true;
    lit.forEach((mark) => mark.classList.remove("on"));
    lit = [];
  };
  document.addEventListener("pointerover", (event) => {
    leave();
    const mark = event.target.closest?.("circle, rect, g");
    if (!texts.has(mark)) return;
    tip.textContent = texts.get(mark);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 12, innerWidth - box.width - 4)) + "px";
    tip.style.top = (event.clientY + box.height + 24 > innerHeight ? event.clientY - box.height - 12 : event.clientY + 12) + "px";
    const own = panels.find((panel) => panel.includes(mark));
    if (own) lit = panels.map((panel) => panel[own.indexOf(mark)]).filter(Boolean);
    lit.forEach((twin) => twin.classList.add("on"));
  });
  document.addEventListener("scroll", leave, { passive: true });
  for (const block of document.querySelectorAll("pre.copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      const code = block.querySelector("code");
      getSelection().selectAllChildren(code);
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        document.execCommand("copy");
      }
    });
    block.classList.add("ready");
    block.append(button);
  }
})();
