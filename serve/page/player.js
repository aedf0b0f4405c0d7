// Plays a take in its own time: which frame is due now, whatever the speed at which pictures come.

export function openPlayer({ player, takeName, takeTime, play, seek, loop }, onFrame) {
  let [take, playing, began, frame, ticking] = [null, false, 0, 0, 0];

  const seconds = (value) => `${Math.floor(value / 60)}:${(value % 60).toFixed(1).padStart(4, "0")}`;
  const showFrame = () => {
    seek.value = frame;
    seek.style.setProperty("--value", frame / Math.max(1, take.frames.length - 1));
    const [now, all] = [frame, take.frames.length - 1].map((place) => seconds(place / take.fps));
    takeTime.textContent = `${now} / ${all}`;
    seek.setAttribute("aria-valuetext", `${now} of ${all}`);
    onFrame(take.frames[frame], !playing);
  };
  const setPlaying = (on) => {
    playing = on;
    play.textContent = on ? "Pause" : "Play";
    cancelAnimationFrame(ticking);
    if (!on) return;
    if (frame >= take.frames.length - 1) frame = 0;
    began = performance.now() - (frame / take.fps) * 1000;
    ticking = requestAnimationFrame(tick);
  };
  const tick = (now) => {
    const due = Math.floor(((now - began) / 1000) * take.fps);
    const last = take.frames.length - 1;
    if (due > last && loop.checked) began = now;
    if (due >= 0 && due !== frame) {
      frame = Math.min(due, last);
      showFrame();
    }
    if (due > last && !loop.checked) {
      setPlaying(false);
      showFrame();
    } else if (playing) ticking = requestAnimationFrame(tick);
  };
  play.addEventListener("click", () => {
    setPlaying(!playing);
    showFrame(); // of a pause, the last word
  });
  seek.addEventListener("input", () => {
    if (playing) setPlaying(false);
    frame = Number(seek.value);
    showFrame();
  });

  return {
    load(next) {
      [take, frame] = [next, 0];
      takeName.textContent = take.name;
      seek.max = take.frames.length - 1;
      player.hidden = false;
      setPlaying(true);
      showFrame();
    },
    pause: () => playing && setPlaying(false),
    close() {
      if (playing) setPlaying(false);
      player.hidden = true;
      take = null;
    },
    playing: () => playing,
    take: () => take,
    frame: () => frame,
  };
}
