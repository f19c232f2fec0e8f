// The page at /: chooses a stream, plays it, and says what it sees. It reads `/v1/playback`, the public list, and
// never calls anything that needs a key. `?stream=ID` plays a stream that is not listed, and `&token=TOKEN` with it one
// that is encrypted.
//
// For tests, <html> carries data-fatal (fatal player errors so far) and data-playing (the stream's id).
"use strict";

const LIST_MS = 4000; // between two looks at the list
const NUMBERS_MS = 500; // between two readings of the player
const RETRY_MS = [1000, 2000, 4000, 8000]; // before the player is started again; the last one repeats

const el = (id) => document.getElementById(id);
const video = el("video");
const root = document.documentElement;
root.dataset.fatal = "0";

let streams = []; // rows of the list: {id, name, state, hls}
let workersOnline = null; // null while unknown
let wanted = new URLSearchParams(location.search).get("stream");
const token = new URLSearchParams(location.search).get("token");
let playing = null; // the row that the player was given
let player = null; // Hls, or null where the browser plays HLS itself
let tries = 0;
let retryTimer = 0;

function notice(title, text = "") {
  el("notice").hidden = title === null;
  // Set only on a change, so that a screen reader says it once.
  if (title !== null && el("notice-title").textContent !== title) el("notice-title").textContent = title;
  if (el("notice-text").textContent !== text) el("notice-text").textContent = text;
}

// ---- the list

async function look() {
  try {
    const answer = await fetch("/v1/playback", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const list = await answer.json();
    streams = list.items;
    workersOnline = list.workers_online ?? null;
    showList();
    choose();
  } catch (error) {
    if (!moving()) notice("Millrace does not answer", `Trying again by itself (${error.message}).`);
  }
  setTimeout(look, LIST_MS);
}

function rows() {
  const listed = streams.some((row) => row.id === wanted);
  if (!wanted || listed) return streams;
  const hls = `/hls/${encodeURIComponent(wanted)}/index.m3u8`;
  return [...streams, { id: wanted, name: wanted, state: "unlisted", hls }];
}

function showList() {
  const select = el("stream");
  const all = rows();
  const text = JSON.stringify(all.map((row) => [row.id, row.name, row.state]));
  // Built anew only on a change: a list that someone has open must not close under their hands.
  if (select.dataset.shown === text) return;
  select.dataset.shown = text;
  select.replaceChildren(...all.map((row) => new Option(`${row.name} (${row.state})`, row.id)));
  select.disabled = all.length === 0;
  if (all.length === 0) select.append(new Option("none yet"));
  if (playing) select.value = playing.id;
}

function choose() {
  const all = rows();
  const row =
    all.find((row) => row.id === wanted) ||
    all.find((row) => row.id === playing?.id && row.state !== "failed") ||
    all.find((row) => row.state === "live") ||
    all.find((row) => row.state === "ended") ||
    all[0];
  if (!row) {
    stop();
    notice("No stream yet", "Push one by RTMP or upload a file; it starts here by itself.");
    return;
  }
  const changed = playing?.id !== row.id;
  const revived = playing?.state !== row.state && row.state === "live";
  playing = row;
  el("stream").value = row.id;
  showState();
  if (changed) start();
  else if (revived && !moving()) start();
}

function showState() {
  el("name").textContent = playing ? playing.name : "No stream";
  el("state").textContent = playing ? playing.state : "waiting";
  el("state").dataset.state = playing ? playing.state : "none";
  const link = el("hls");
  if (playing) {
    link.href = new URL(playing.hls, location.href).href;
    link.textContent = link.href;
  } else {
    link.removeAttribute("href");
    link.textContent = "–";
  }
}

// ---- the player

function stop() {
  clearTimeout(retryTimer);
  player?.destroy();
  player = null;
  playing = null;
  delete root.dataset.playing;
  showState();
}

function start() {
  clearTimeout(retryTimer);
  player?.destroy();
  player = null;
  showLevels();
  root.dataset.playing = playing.id;
  whyNot();
  if (window.Hls?.isSupported()) {
    player = new Hls({ backBufferLength: 30, liveDurationInfinity: true });
    player.on(Hls.Events.MANIFEST_PARSED, () => {
      showLevels();
      play();
    });
    player.on(Hls.Events.LEVEL_SWITCHED, showLevels);
    player.on(Hls.Events.ERROR, failed);
    player.loadSource(address(playing));
    player.attachMedia(video);
  } else if (video.canPlayType("application/vnd.apple.mpegurl")) {
    video.src = address(playing);
    play();
  } else {
    notice("This browser can't play HLS", "Open the address below in a player such as VLC.");
  }
}

/// Where a stream is played from: the token is for the one that the page was opened for.
function address(row) {
  return token && row.id === wanted ? `${row.hls}?token=${encodeURIComponent(token)}` : row.hls;
}

function play() {
  // Refused where the browser wants a click first; the controls are there for it.
  video.play().catch(() => {});
}

function failed(_event, error) {
  if (!error.fatal) return;
  if (error.response?.code === 401 || error.response?.code === 403) {
    root.dataset.fatal = String(Number(root.dataset.fatal) + 1);
    player.destroy();
    notice("This stream is encrypted", "It plays with a playback token that is right and not over: /?stream=ID&token=TOKEN");
    return;
  }
  const missing = error.type === Hls.ErrorTypes.NETWORK_ERROR && error.response?.code === 404;
  // A playlist that is not there yet is no fault of the player.
  if (!missing) root.dataset.fatal = String(Number(root.dataset.fatal) + 1);
  if (error.type === Hls.ErrorTypes.MEDIA_ERROR && tries < 2) {
    tries += 1;
    player.recoverMediaError();
    return;
  }
  again();
}

function again() {
  whyNot();
  clearTimeout(retryTimer);
  retryTimer = setTimeout(() => playing && start(), RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]);
  tries += 1;
}

const moving = () => video.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA && !video.error;

/// Says why nothing moves, as far as the list tells.
function whyNot() {
  const state = playing?.state;
  if (workersOnline === 0 && state !== "ended") {
    notice("No worker is online", "Video is kept until one joins: millrace-worker join " + location.origin);
  } else if (state === "waiting") {
    notice("Waiting for video", "The stream is there, and nothing has been pushed or uploaded yet.");
  } else if (state === "failed") {
    notice("This stream failed", "It could not be processed; the API tells the reason.");
  } else if (state === "interrupted") {
    notice("The publisher is away", "It goes on by itself when the publisher comes back.");
  } else if (video.currentTime > 0) {
    notice("Buffering …", "The next segment is on its way.");
  } else {
    notice("Starting …", "The first segments are on their way.");
  }
}

video.addEventListener("playing", () => {
  tries = 0;
  notice(null);
});
video.addEventListener("waiting", () => !video.ended && whyNot());
video.addEventListener("canplay", () => notice(null));
video.addEventListener("error", () => !player && playing && again());

// ---- choices

el("stream").addEventListener("change", (event) => {
  wanted = event.target.value;
  const url = new URL(location.href);
  url.searchParams.set("stream", wanted);
  history.replaceState(null, "", url);
  choose();
});

function showLevels() {
  const select = el("level");
  const levels = player?.levels ?? [];
  const now = player && player.autoLevelEnabled && levels[player.currentLevel];
  const options = levels
    .map((level, at) => [level, at])
    .sort(([a], [b]) => b.bitrate - a.bitrate)
    .map(([level, at]) => new Option(`${shortSide(level)}p, ${(level.bitrate / 1e6).toFixed(1)} Mbit/s`, at));
  select.replaceChildren(new Option(now ? `Auto (${shortSide(now)}p)` : "Auto", -1), ...options);
  select.value = String(player && !player.autoLevelEnabled ? player.nextLevel : -1);
  select.disabled = levels.length < 2;
}

const shortSide = (level) => Math.min(level.width, level.height);

el("level").addEventListener("change", (event) => {
  if (player) player.nextLevel = Number(event.target.value);
});

// ---- numbers

function numbers() {
  const end = video.buffered.length ? video.buffered.end(video.buffered.length - 1) : null;
  const quality = video.getVideoPlaybackQuality?.();
  const live = player ? player.latency > 0 && player.levels[player.currentLevel]?.details?.live : false;
  el("picture").textContent = video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : "–";
  el("latency").textContent = live ? `${player.latency.toFixed(1)} s` : "–";
  el("buffer").textContent = end === null ? "–" : `${Math.max(0, end - video.currentTime).toFixed(1)} s`;
  el("dropped").textContent = quality?.totalVideoFrames ? String(quality.droppedVideoFrames) : "–";
}

setInterval(numbers, NUMBERS_MS);
look();
