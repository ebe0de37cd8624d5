package org.eellm.cli.train;

import java.util.Optional;
import org.eellm.chat.AnswerEncoder;
import org.eellm.chat.ChatTemplate;
import org.eellm.chat.ChatTemplateException;
import org.eellm.data.CountedTokens;
import org.eellm.data.DataException;
import org.eellm.data.corpus.Chat;
import org.eellm.data.tokenizer.Tokenizer;
import org.jspecify.annotations.Nullable;

/** The chats of a preparation, by the tokenizer's template, read when the first comes. */
final class ChatPreparation {
  private final Tokenizer tokenizer;
  private final boolean skipsBadChats;
  private @Nullable AnswerEncoder encoder;

  /**
   * @param skipsBadChats whether chats that the template does not take are left out
   */
  ChatPreparation(Tokenizer tokenizer, boolean skipsBadChats) {
    this.tokenizer = tokenizer;
    this.skipsBadChats = skipsBadChats;
  }

  /** The tokens of a chat, unless it is to be left out. */
  Optional<CountedTokens> encode(Chat chat) {
    try {
      return Optional.of(encoder().encode(chat));
    } catch (ChatTemplateException e) {
      if (skipsBadChats && e.isOfMessages()) {
        return Optional.empty();
      }
      throw new DataException("%s: %s".formatted(chat.place(), e.getMessage()), e);
    }
  }

  private synchronized AnswerEncoder encoder() {
    AnswerEncoder present = encoder;
    if (present == null) {
      present = new AnswerEncoder(ChatTemplate.of(tokenizer), tokenizer);
      encoder = present;
    }
    return present;
  }

  /** Where the template is from. */
  String template() {
    return encoder().template().description();
  }
}
