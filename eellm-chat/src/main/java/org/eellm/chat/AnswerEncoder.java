package org.eellm.chat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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
    Optional<MatchResult> end =
        template.specials(with.substring(start)).reversed().stream()
            .findFirst()
            .filter(last -> with.substring(start + last.end()).isBlank());
    if (text.startsWith(with)) {
      return new Span(start, end.map(last -> start + last.end()).orElse(with.length()));
    }
    // Templates leave thoughts out of earlier answers.
    return end.map(MatchResult::group)
        .filter(name -> text.indexOf(name, start) >= 0)
        .map(name -> new Span(start, text.indexOf(name, start) + name.length()))
        .orElseThrow(() -> otherwise(i));
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
