"""Lines to train a small tokenizer on, and texts that try it."""

PROSE = """
In 2001, the people of the city were well served, mostly by the café (company) at the river: 3.5% of 1,200.
Привет мир, город сегодня. Καλημέρα κόσμε, ο δρόμος. 今日は 世界, 中文字符 日本語. 대한민국 서울 한국어 텍스트.
हिन्दी किताबें और ไทย การทดสอบ العربية عالم, naïve façade, price €5 or £3, a–b "said" well-known don't.
"""
WORDS = PROSE.split()
LINES = [" ".join(WORDS[(i * step) % len(WORDS)] + "sxyz"[i % 4] for i in range(9)) for step in range(1, 150)]
TEXTS = [
  *PROSE.split("\n"),
  *WORDS,
  "Ünïcödé ÀÉ ça İstanbul ß ς ΟΔΟΣ ΑΣ.Α ΣΑΣ",
  "``quoted'' text",
  "'' ",
  "\u0301combining \u0300",
  "ﬁne ² Ⅷ Å Ａ ½ ２００８ …",
  "  a\u00a0b\u2003c\td\n e\u2028f\x0bg\x85h  ",
  "emoji 🦊 👩‍👩‍👧 🇩🇪 ok",
  "x\u0000y \u0007bell \u200bzero \ufeffmark \ufffd \u00adsoft",
  "\u0007the",
  "e\u0301 \u1100\u1161 क्षि",
  "a" * 150 + " long",
  "don't 3.5% e@x.com --- ?! (£3) €",
  "#tag ##ing ▁ <pad",
  "the [MASK] of[MASK].",
  "[MASK], [CLS] [SEP]",
  "",
  "  ",
]
