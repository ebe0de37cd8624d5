package org.eellm.chat;

import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;

/** What becomes of a chat that does not fit a model's context. */
public enum Overflow {
  /** It is refused. */
  REFUSE,

  /**
   * Its oldest questions are left out, with what was said on them, until there is room for the
   * answer. What the system says, and the last question, stay.
   */
  FORGET;

  /**
   * The ids that the model continues with an answer.
   *
   * @param encoded the ids of messages, by {@link ChatTemplate#encode}
   * @param context tokens that prompt and answer may have together
   * @param maxTokens most tokens of the answer, for which up to half of the context is kept free
   * @throws ChatTemplateException if the template does not take the messages, or what may not be
   *     forgotten does not fit
   */
  public List<Integer> encode(
      List<ChatMessage> messages,
      Function<List<ChatMessage>, List<Integer>> encoded,
      int context,
      int maxTokens) {
    List<Integer> prompt = encoded.apply(messages);
    int room = context - Math.min(maxTokens, context / 2);
    if (this == FORGET && prompt.size() > room) {
      int[] questions =
          IntStream.range(0, messages.size())
              .filter(i -> messages.get(i).role().equals("user"))
              .toArray();
      int least = 0; // questions to leave out, between which the answer lies
      int most = questions.length - 1;
      while (least < most) {
        int tried = least + (most - least) / 2;
        if (encoded.apply(from(questions[tried], messages)).size() > room) {
          least = tried + 1;
        } else {
          most = tried;
        }
      }
      if (most >= 0) {
        prompt = encoded.apply(from(questions[most], messages));
      }
    }
    if (prompt.size() > context) {
      throw ChatTemplateException.ofMessages(
          "messages",
          "are %d tokens, and the model's context is %d; send fewer or shorter ones, or have the oldest forgotten (%s)"
              .formatted(prompt.size(), context, FORGET));
    }
    return prompt;
  }

  /** What the system says, and all from a message on. */
  private static List<ChatMessage> from(int first, List<ChatMessage> messages) {
    return IntStream.range(0, messages.size())
        .filter(i -> i >= first || isOfSystem(messages.get(i)))
        .mapToObj(messages::get)
        .toList();
  }

  private static boolean isOfSystem(ChatMessage message) {
    return message.role().equals("system") || message.role().equals("developer");
  }
}
