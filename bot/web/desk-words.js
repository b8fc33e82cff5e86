/* What the desk says, in English and Chinese. */

import { languageOf } from "./words.js";

const WORDS = {
  en: {
    desk: "Desk", language: "中文", languageLabel: "切换到中文",
    signIn: "Sign in", signInText: "Sign in with the one-time code that the server printed at its start, or that “bot agent NAME” prints.",
    code: "One-time code or key", name: "Your name, as shoppers see it", signOut: "Sign out",
    refused: "The code is wrong, used or too old. Make a new one: bot agent NAME.", expired: "Your session has ended. Sign in again with a new code: bot agent NAME.",
    unreachable: "The server cannot be reached. Try again in a moment.",
    waiting: "Waiting", mine: "Mine", others: "With colleagues", nobody: "Nobody is waiting", nobodyText: "Who asks for a person, or gets angry, appears here at once.",
    nothing: "Pick a conversation", nothingText: "j and k move, Enter claims. Press ? for all keys.",
    claim: "Claim", claimKey: "Claim (c)", held: (who) => `Held by ${who}`,
    reasons: { angry: "Angry", asked_for_person: "Asked for a person", engine_failed: "Assistant failed", abstained_twice: "No answer twice", returned_to_queue: "Came back" },
    position: (n) => `Number ${n}`, since: (time) => `waiting ${time}`, languages: { en: "EN", zh: "中文" },
    moodTrace: (percent) => `Anger over the conversation, now ${percent} %`,
    conversation: "Conversation", back: "All conversations", preview: "You are reading along. Claim it to answer.",
    gone: "This conversation is no longer yours.", closedNow: "This conversation is closed.", othersNow: (who) => `${who} is answering.`, botNow: "The assistant is answering again.",
    reply: "Your reply", replyHint: "Write to the shopper …", send: "Send", toBot: "Back to the assistant", toQueue: "Back to the queue", close: "Close",
    shopper: "Shopper", bot: "Assistant", you: "you", typing: "The shopper is writing …", sending: "Sending …", failed: "Not sent.", retry: "Try again",
    moods: { calm: "calm", unhappy: "unhappy", angry: "angry" }, outcomes: { quoted: "quoted", abstained: "found nothing", truncated: "stopped", answered: "" },
    noText: "stopped before the first word", rated: (score) => `The shopper rated the conversation ${score} of 5.`, up: "The shopper found this helpful.", down: "The shopper did not find this helpful.",
    summary: "Summary", noSummary: "No summary.", passages: "What the assistant read", noPassages: "Nothing was read.", mood: "Mood", note: "Note", order: "Order",
    releaseTitle: "Give the conversation back to the assistant", queueTitle: "Put the conversation back in the queue", closeTitle: "Close the conversation",
    noteLabel: "Note for colleagues (optional, the shopper does not see it)", resolution: "How did it end?", resolutions: { solved: "Solved", unsolved: "Not solved", no_reply: "No reply from the shopper", other: "Other" },
    confirm: { bot: "Give back", queue: "Put back", closed: "Close" }, cancel: "Cancel",
    online: "Connected", connecting: "Connecting …", lost: "Connection lost. Trying again … Your conversations are kept for a short while.", elsewhere: "The desk is open in another window.",
    errors: { already_claimed: (who) => `${who || "A colleague"} was faster.`, at_capacity: () => "You hold as many conversations as allowed. Finish one first.", not_queued: () => "It is not waiting any more.", stale_epoch: () => "It is not yours any more.", not_found: () => "There is no such conversation.", try_later: () => "The database cannot be used right now. Try again." },
    error: "That did not work.", held_of: (held, capacity) => `${held} of ${capacity}`,
    help: "Keys", keys: [["j  k", "next, previous conversation"], ["Enter  c", "claim; in your own: reply"], ["r", "reply"], ["b", "back to the assistant"], ["q", "back to the queue"], ["x", "close the conversation"], ["Esc", "leave the reply, close a dialog"], ["?", "this help"]], done: "Done",
  },
  zh: {
    desk: "客服工作台", language: "English", languageLabel: "Switch to English",
    signIn: "登录", signInText: "请使用服务启动时显示的一次性登录码，或运行 “bot agent 名字” 获取。",
    code: "一次性登录码或密钥", name: "您的称呼（顾客可见）", signOut: "退出",
    refused: "登录码有误、已使用或已过期。请重新生成：bot agent 名字。", expired: "登录已失效，请用新的登录码重新登录：bot agent 名字。",
    unreachable: "无法连接服务器，请稍后再试。",
    waiting: "排队中", mine: "我的", others: "同事接待中", nobody: "暂无排队", nobodyText: "顾客要求转人工或情绪激动时，会立即出现在这里。",
    nothing: "请选择一个会话", nothingText: "按 j / k 移动，回车接入；按 ? 查看全部快捷键。",
    claim: "接入", claimKey: "接入 (c)", held: (who) => `${who} 接待中`,
    reasons: { angry: "情绪激动", asked_for_person: "要求人工", engine_failed: "助手故障", abstained_twice: "两次未答上", returned_to_queue: "退回排队" },
    position: (n) => `第 ${n} 位`, since: (time) => `已等 ${time}`, languages: { en: "EN", zh: "中文" },
    moodTrace: (percent) => `会话中的愤怒程度，目前 ${percent}%`,
    conversation: "会话", back: "全部会话", preview: "您正在旁观，接入后才能回复。",
    gone: "该会话已不归您接待。", closedNow: "该会话已结束。", othersNow: (who) => `${who} 正在接待。`, botNow: "智能助手已重新接手。",
    reply: "回复内容", replyHint: "回复顾客……", send: "发送", toBot: "交还助手", toQueue: "退回排队", close: "结束",
    shopper: "顾客", bot: "智能助手", you: "我", typing: "顾客正在输入……", sending: "发送中……", failed: "未发送。", retry: "重试",
    moods: { calm: "平静", unhappy: "不满", angry: "愤怒" }, outcomes: { quoted: "引用原文", abstained: "未找到答案", truncated: "已停止", answered: "" },
    noText: "尚未开口即被停止", rated: (score) => `顾客评分：${score} / 5。`, up: "顾客认为有帮助。", down: "顾客认为没帮助。",
    summary: "摘要", noSummary: "没有摘要。", passages: "助手查阅过的内容", noPassages: "没有查阅内容。", mood: "情绪", note: "备注", order: "订单",
    releaseTitle: "把会话交还智能助手", queueTitle: "把会话退回排队", closeTitle: "结束会话",
    noteLabel: "给同事的备注（选填，顾客看不到）", resolution: "处理结果", resolutions: { solved: "已解决", unsolved: "未解决", no_reply: "顾客未回复", other: "其他" },
    confirm: { bot: "交还", queue: "退回", closed: "结束" }, cancel: "取消",
    online: "已连接", connecting: "正在连接……", lost: "连接中断，正在重试……您的会话会为您短暂保留。", elsewhere: "工作台已在另一个窗口打开。",
    errors: { already_claimed: (who) => `${who || "同事"} 已先接入。`, at_capacity: () => "您的接待数已达上限，请先结束一个。", not_queued: () => "该会话已不在排队。", stale_epoch: () => "该会话已不归您接待。", not_found: () => "会话不存在。", try_later: () => "数据库暂时不可用，请重试。" },
    error: "操作没有成功。", held_of: (held, capacity) => `${held} / ${capacity}`,
    help: "快捷键", keys: [["j  k", "下一个、上一个会话"], ["回车  c", "接入；自己的会话则开始回复"], ["r", "回复"], ["b", "交还助手"], ["q", "退回排队"], ["x", "结束会话"], ["Esc", "离开输入框、关闭对话框"], ["?", "显示本帮助"]], done: "知道了",
  },
};

export const deskWords = (locale) => WORDS[languageOf(locale)];

/** 42 s, 3:07, 1:02:09: how long something lasts. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}
