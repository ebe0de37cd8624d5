package org.eellm.chat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import org.eellm.data.CountedTokens;
import org.eellm.data.corpus.Chat;
import org.eellm.data.tokenizer.Tokenizer;

/**
 * Chats to learn from: the ids of whole conversations, of which the loss counts the answers, each
 * with the special token that ends it. Where an answer begins and ends is found by rendering the
 * chat up to it and with it, as a model is asked for it; so this needs nothing of the template.
 *
 * <p>May be shared by threads.
 */
public record AnswerEncoder(ChatTemplate template, Tokenizer tokenizer) {
  private static final Map<String, Object> WHOLE = Map.of(ChatTemplate.ANSWERS, false);

  /** Changes a message's text; no filter of texts leaves it out. */
  private static final String MARK = "__0__";

  /** An answer's place in the text. */
  private record Span(int start, int end) {}

  /**
   * The ids of a conversation. The tokenizer's end of document is put behind it, unless it ends
   * with that; it counts where an answer stands before it that no special token ends.
   *
   * @throws ChatTemplateException if the template cannot be rendered, or does not take these
   *     messages, or writes an answer in a chat that goes on so that it cannot be found
   */
  public CountedTokens encode(Chat chat) {
    List<Chat.Message> messages = chat.messages();
    List<ChatMessage> quoted =
        template.quoted(
            messages.stream()
                .map(said -> new ChatMessage(said.role(), said.content(), said.name()))
                .toList(),
            Map.of());
    String text = template.render(quoted, WHOLE);
    Result result = new Result();
    int done = 0;
    for (int i = 0; i < quoted.size(); i++) {
      if (messages.get(i).isLearned()) {
        Span answer = answer(quoted, i, text);
        if (answer.start() < done) {
          throw otherwise(i);
        }
        result.add(text.substring(done, answer.start()), false);
        result.add(text.substring(answer.start(), answer.end()), true);
        done = answer.end();
      }
    }
    boolean open = done == text.length() && result.afterText;
    result.add(text.substring(done), false);
    if (result.ids.isEmpty() || result.ids.getLast() != tokenizer.endOfDocument()) {
      result.add(tokenizer.endOfDocument(), open);
    }
    return result.tokens();
  }

  private Span answer(List<ChatMessage> quoted, int i, String text) {
    String before = template.render(quoted.subList(0, i), Map.of());
    String with = template.render(quoted.subList(0, i + 1), WHOLE);
    if (!with.startsWith(before) && with.startsWith(template.render(quoted.subList(0, i), WHOLE))) {
      throw refusal(
          i,
          "the chat template's generation prompt is not how it begins this answer; use a template"
              + " whose prompt is");
    }
    if (!text.startsWith(before) || !with.startsWith(before)) {
      throw otherwise(i);
    }
    int start = before.length();
    // What ends an answer is none of its text, where special tokens' names are quoted.
    int said = afterContent(with, quoted.subList(0, i + 1), i);
    List<MatchResult> closing = template.specials(with.substring(said));
    if (text.startsWith(with)) {
      return new Span(start, closing.isEmpty() ? with.length() : said + closing.getFirst().end());
    }
    // Templates leave thoughts out of earlier answers, and may end the last otherwise.
    int from = afterContent(text, quoted, i);
    int to = beforeContent(text, quoted, i + 1);
    List<MatchResult> between =
        start <= from && from <= to ? template.specials(text.substring(from, to)) : List.of();
    if (closing.isEmpty() || between.isEmpty()) {
      throw otherwise(i);
    }
    // One alone, of another name, begins the next message.
    if (between.size() == 1 && !between.getFirst().group().equals(closing.getFirst().group())) {
      throw otherwise(i);
    }
    return new Span(start, from + between.getFirst().end());
  }

  /** Where a message's text ends in the rendered messages: behind it nothing else changes. */
  private int afterContent(String text, List<ChatMessage> messages, int i) {
    String longer = withContent(messages, i, messages.get(i).content() + MARK);
    int same = 0;
    while (same < Math.min(text.length(), longer.length())
        && text.charAt(text.length() - 1 - same) == longer.charAt(longer.length() - 1 - same)) {
      same++;
    }
    return text.length() - same;
  }

  /** Where a message's text begins, likewise. */
  private int beforeContent(String text, List<ChatMessage> messages, int i) {
    String other = withContent(messages, i, MARK + messages.get(i).content());
    int first = Arrays.mismatch(text.toCharArray(), other.toCharArray());
    return first < 0 ? text.length() : first;
  }

  private String withContent(List<ChatMessage> messages, int i, String content) {
    List<ChatMessage> changed = new ArrayList<>(messages);
    changed.set(i, messages.get(i).withContent(content));
    return template.render(changed, WHOLE);
  }

  private static ChatTemplateException otherwise(int i) {
    return refusal(
        i,
        "the chat template writes this answer, or what is before it, otherwise where the chat goes"
            + " on; let the chat end with it");
  }

  private static ChatTemplateException refusal(int i, String problem) {
    return ChatTemplateException.ofMessages("messages[%d]".formatted(i), problem);
  }

  /** The ids so far. */
  private final class Result {
    private final List<Integer> ids = new ArrayList<>();
    private final List<Boolean> counted = new ArrayList<>();
    private boolean afterText;

    void add(String text, boolean counts) {
      for (TextPiece piece : template.pieces(text)) {
        switch (piece) {
          case TextPiece.Special(int id) -> add(id, counts);
          case TextPiece.Literal(String literal) -> {
            int[] added =
                afterText ? tokenizer.encodeContinuation(literal) : tokenizer.encode(literal);
            Arrays.stream(added).forEach(id -> add(id, counts));
            afterText = true;
          }
        }
      }
    }

    void add(int id, boolean counts) {
      ids.add(id);
      counted.add(counts);
      afterText = false;
    }

    CountedTokens tokens() {
      boolean[] counts = new boolean[ids.size()];
      for (int i = 0; i < counts.length; i++) {
        counts[i] = counted.get(i);
      }
      return new CountedTokens(ids.stream().mapToInt(Integer::intValue).toArray(), counts);
    }
  }
}
