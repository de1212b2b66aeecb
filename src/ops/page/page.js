"use strict";
// Keeps the page current; the page is complete without it. It fetches the page again and copies the parts that changed, so
// the HTML is written in one place and its texts never run as code.
(() => {
  const EVERY = 5000;
  const announced = document.getElementById("announced");
  const pause = document.getElementById("pause");
  let paused = false;

  const selecting = (place) => {
    const selection = getSelection();
    return selection !== null && !selection.isCollapsed && selection.containsNode(place, true);
  };

  const say = (text) => {
    if (announced.textContent !== text) announced.textContent = text;
  };

  const update = async () => {
    const answer = await fetch("/", { cache: "no-store", credentials: "omit", redirect: "error" });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const place of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(place.id);
      if (next !== null && next.innerHTML !== place.innerHTML && !selecting(place)) {
        place.replaceChildren(...next.childNodes);
      }
    }
    document.title = fresh.title;
    say(document.getElementById("state").textContent);
  };

  const tick = async () => {
    if (!paused && !document.hidden) {
      try {
        await update();
      } catch {
        say("no answer: this page is out of date");
      }
    }
    setTimeout(tick, EVERY);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    say(paused ? "paused" : "");
  });
  setTimeout(tick, EVERY);
})();
