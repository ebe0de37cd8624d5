package org.eellm.cli.train;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Optional;
import org.eellm.chat.AnswerEncoder;
import org.eellm.chat.ChatMessage;
import org.eellm.chat.ChatTemplate;
import org.eellm.chat.ChatTemplateException;
import org.eellm.data.CountedTokens;
import org.eellm.data.DataException;
import org.eellm.data.Preparation;
import org.eellm.data.corpus.Chat;
import org.eellm.data.tokenizer.Tokenizer;
import org.jspecify.annotations.Nullable;

/** The chats of a preparation, by the template beside the tokenizer, read when the first comes. */
final class ChatPreparation {
  private final Path folder;
  private final Tokenizer tokenizer;
  private final boolean skipsBadChats;
  private @Nullable AnswerEncoder encoder;

  /**
   * @param path of the tokenizer: a folder, or a file in one
   * @param skipsBadChats whether chats that the template does not take are left out
   */
  ChatPreparation(Path path, Tokenizer tokenizer, boolean skipsBadChats) {
    this.folder = path.endsWith("tokenizer.json") ? path.resolveSibling("") : path;
    this.tokenizer = tokenizer;
    this.skipsBadChats = skipsBadChats;
  }

  /** The tokens of a chat, unless it is to be left out. */
  Optional<CountedTokens> encode(Chat chat) {
    List<ChatMessage> messages =
        chat.messages().stream()
            .map(said -> new ChatMessage(said.role(), said.content(), Optional.empty()))
            .toList();
    try {
      return Optional.of(encoder().encode(messages));
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
      present = new AnswerEncoder(ChatTemplate.read(folder, tokenizer), tokenizer);
      encoder = present;
    }
    return present;
  }

  /** Where the template is from. */
  String template() {
    return encoder().template().description();
  }

  /** Keeps the template beside a dataset's tokenizer. */
  void keepTemplate(Path prefix) {
    keepTemplate(folder, prefix);
  }

  /** Puts a template that is a file of its own in a folder beside a dataset's tokenizer. */
  static void keepTemplate(Path folder, Path prefix) {
    Path file = folder.resolve(ChatTemplate.FILE);
    Path copy = Preparation.tokenizerFolder(prefix).resolve(ChatTemplate.FILE);
    try {
      if (!Files.exists(file)) {
        Files.deleteIfExists(copy);
      } else if (!Files.exists(copy) || !Files.isSameFile(file, copy)) {
        Files.copy(file, copy, StandardCopyOption.REPLACE_EXISTING);
      }
    } catch (IOException e) {
      throw new DataException(
          "%s: cannot be written: %s".formatted(copy, DataException.reason(e)), e);
    }
  }
}
