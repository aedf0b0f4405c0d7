// Plays a capture in real time: shows the frame that is due now, and skips frames if the server is slower.

export function createPlayer({ container, captureName, captureTime, playButton, seek, loop }, onFrame) {
  let [capture, playing, startedAt, frame, animation] = [null, false, 0, 0, 0];

  const formatTime = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
  const showFrame = () => {
    seek.value = frame;
    seek.style.setProperty("--value", frame / Math.max(1, capture.frames.length - 1));
    const [current, total] = [frame, capture.frames.length - 1].map((index) => formatTime(index / capture.fps));
    captureTime.textContent = `${current} / ${total}`;
    seek.setAttribute("aria-valuetext", `${current} of ${total}`);
    onFrame(capture.frames[frame], !playing);
  };
  const setPlaying = (on) => {
    playing = on;
    playButton.textContent = on ? "Pause" : "Play";
    cancelAnimationFrame(animation);
    if (!on) return;
    if (frame >= capture.frames.length - 1) frame = 0;
    startedAt = performance.now() - (frame / capture.fps) * 1000;
    animation = requestAnimationFrame(tick);
  };
  const tick = (now) => {
    const due = Math.floor(((now - startedAt) / 1000) * capture.fps);
    const last = capture.frames.length - 1;
    if (due > last && loop.checked) startedAt = now;
    if (due >= 0 && due !== frame) {
      frame = Math.min(due, last);
      showFrame();
    }
    if (due > last && !loop.checked) {
      setPlaying(false);
      showFrame();
    } else if (playing) animation = requestAnimationFrame(tick);
  };
  playButton.addEventListener("click", () => {
    setPlaying(!playing);
    showFrame(); // a pause requests its frame as the final one
  });
  seek.addEventListener("input", () => {
    if (playing) setPlaying(false);
    frame = Number(seek.value);
    showFrame();
  });

  return {
    load(newCapture) {
      [capture, frame] = [newCapture, 0];
      captureName.textContent = capture.name;
      seek.max = capture.frames.length - 1;
      container.hidden = false;
      setPlaying(true);
      showFrame();
    },
    pause: () => playing && setPlaying(false),
    close() {
      if (playing) setPlaying(false);
      container.hidden = true;
      capture = null;
    },
    isPlaying: () => playing,
    capture: () => capture,
    frame: () => frame,
  };
}
