// What the back-office needs of the browser: its time zone, and a few buttons beside a date.
"use strict";

(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  document.cookie = `zone=${zone}; path=/admin; max-age=31536000; samesite=lax`;
})();

// Each preset moves a date; the fields hold plain local times, so the arithmetic is done as if they were UTC.
const PRESETS = {
  "Today": (at) => endOfDay(at),
  "Tomorrow": (at) => endOfDay(plusDays(at, 1)),
  "Friday": (at) => endOfDay(plusDays(at, (5 - at.getUTCDay() + 7) % 7)),
  "In a week": (at) => endOfDay(plusDays(at, 7)),
  "End of the month": (at) => new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 0, 23, 59)),
  "A day on": (at) => plusDays(at, 1),
  "A week on": (at) => plusDays(at, 7),
  "A month on": (at) => plusMonths(at, 1),
  "A year on": (at) => plusMonths(at, 12),
};

const plusDays = (at, days) => new Date(at.getTime() + days * 86400000);
const endOfDay = (at) => new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate(), 23, 59));

function plusMonths(at, months) {
  const last = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + months + 1, 0)).getUTCDate();
  const day = Math.min(at.getUTCDate(), last);
  return new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + months, day, at.getUTCHours(), at.getUTCMinutes()));
}

document.addEventListener("DOMContentLoaded", () => {
  // The theme's pages have no main landmark of their own.
  const main = document.getElementById("main") ?? document.getElementById("page") ?? document.body.firstElementChild;
  if (!document.querySelector("main, [role=main]")) main?.setAttribute("role", "main");

  for (const input of document.querySelectorAll("input[data-presets]")) {
    const row = document.createElement("div");
    row.className = "sl-row sl-gap";
    for (const name of input.dataset.presets.split("|")) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sl-button sl-small";
      button.textContent = name;
      button.addEventListener("click", () => {
        const from = input.dataset.stays ? input.dataset.from : input.value || input.dataset.from;
        input.value = PRESETS[name](new Date(`${from}Z`)).toISOString().slice(0, 16);
        input.dispatchEvent(new Event("change", { bubbles: true }));
      });
      row.append(button);
    }
    input.after(row);
  }
});

// A file is read here and put into the text, so that it can be looked over and mended before anything is sent.
document.addEventListener("DOMContentLoaded", () => {
  for (const text of document.querySelectorAll("textarea[data-file]")) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    label.className = "sl-button sl-small sl-gap";
    label.textContent = "From a file …";
    input.type = "file";
    input.className = "sl-hidden";
    input.accept = text.dataset.file;
    input.addEventListener("change", async () => {
      if (input.files.length) text.value = await input.files[0].text();
    });
    label.append(input);
    text.after(label);
  }
});

// What scrolls sideways can be reached, and scrolled, with the keyboard.
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".sl-scroll")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
});

// What is under way is read again in place: nobody loses where they were. When it is over, the page comes anew.
document.addEventListener("DOMContentLoaded", () => {
  const live = document.querySelector("[data-live]");
  if (!live) return;
  const read = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href);
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const next = page.querySelector("[data-live]");
        if (answer.ok && next?.dataset.live !== live.dataset.live) return location.reload();
        if (next && next.innerHTML !== live.innerHTML) live.innerHTML = next.innerHTML;
      } catch { /* not reachable just now; the next look may be */ }
    }
    setTimeout(read, 1000);
  };
  setTimeout(read, 1000);
});

// On a narrow screen the answer to the questions lies below them: show it.
document.addEventListener("DOMContentLoaded", () => {
  const effect = document.querySelector("[data-into-view]");
  if (effect && effect.getBoundingClientRect().bottom > window.innerHeight) effect.scrollIntoView({ block: "start" });
});
