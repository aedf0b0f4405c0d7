// How far long work is: a bar, and in words what is done, its pace and the time left.

/** Shows progress in a container that holds a <progress> and a <span>. */
export function createProgress(container) {
  const [bar, words] = [container.querySelector("progress"), container.querySelector("span")];
  let begun = 0;
  return {
    /** Work that may take long begins; `status` is shown until something of it is done. */
    start(status) {
      begun = 0;
      words.textContent = status;
      bar.removeAttribute("value");
      container.hidden = false;
    },
    /** `part`: of the whole that is done, in [0, 1]; 0: not known. */
    show(frames, part, count = 0) {
      const now = performance.now();
      begun ||= now;
      const seconds = (now - begun) / 1000;
      const of = count ? ` of ${Math.max(count, frames)}` : "";
      const pace = seconds > 0.5 ? ` · ${(frames / seconds).toFixed(frames < 10 * seconds ? 1 : 0)} frames/s` : "";
      const left = part > 0 && seconds > 0.5 ? ` · ${duration((seconds * (1 - Math.min(part, 1))) / part)} left` : "";
      words.textContent = `${frames}${of} ${frames === 1 ? "frame" : "frames"} done${pace}${left}`;
      if (part > 0) bar.value = Math.min(part, 1);
    },
    end() {
      container.hidden = true;
    },
  };
}

const duration = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.round(seconds / 60)} min`);
