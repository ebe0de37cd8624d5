package org.eellm.data.tokenizer;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.SequencedMap;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import org.eellm.data.DataException;
import org.jspecify.annotations.Nullable;

/**
 * Text to token ids and back. Read from a Hugging Face {@code tokenizer.json} or from files that
 * become one ({@link #load}), or trained ({@link BpeTrainer}).
 *
 * <p>Encoding takes every text literally: a special token's name in a document, such as {@code
 * <|endoftext|>}, becomes the tokens of its letters, never the special token. Nothing is put before
 * or after the text; {@link #beginningOfSequence} and {@link #endOfDocument} are the caller's.
 *
 * <p>Instances are immutable and may be shared by threads.
 */
public final class Tokenizer {
  static final String FILE = "tokenizer.json";
  static final String CONFIG_FILE = "tokenizer_config.json";
  static final String TEMPLATE_FILE = "chat_template.jinja";

  /** Turns text into ids, taking it literally. */
  interface TextEncoder {
    int[] encode(String text);

    /** The ids of a text that goes on after another one: no blank is put before it. */
    int[] encodeContinuation(String text);

    /** A text with question marks in place of halves of characters. */
    static String wellFormed(String text) {
      for (int at = 0; at < text.length(); at++) {
        if (Character.isSurrogate(text.charAt(at))) {
          return new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8);
        }
      }
      return text;
    }
  }

  /**
   * The text and the bytes that an id stands for.
   *
   * @param text the text to show: a special token's name, or the text of its bytes
   * @param bytes the UTF-8 it adds to a text, of which nobody changes a byte; of a special token
   *     none
   */
  @SuppressWarnings("ArrayRecordComponent") // compared by nobody
  record Token(String text, byte[] bytes) {
    static Token special(String name) {
      return new Token(name, new byte[0]);
    }

    static Token ordinary(byte[] bytes) {
      return new Token(new String(bytes, StandardCharsets.UTF_8), bytes);
    }
  }

  /**
   * @param size one more than the highest id
   * @param tokens by id
   * @param dropsLeadingBlank whether the blank that encoding puts before a text is dropped again
   */
  record Vocabulary(
      int size,
      IntFunction<Token> tokens,
      int endOfDocument,
      OptionalInt beginningOfSequence,
      boolean dropsLeadingBlank) {}

  private final Vocabulary vocabulary;
  private final TextEncoder encoder;
  private final @Nullable Token[] known; // those that were asked for, by id
  private final Supplier<String> file;
  private final String configFile;
  private final Optional<String> chatTemplate;

  Tokenizer(
      Vocabulary vocabulary,
      TextEncoder encoder,
      Supplier<String> file,
      String configFile,
      @Nullable String chatTemplate) {
    known = new Token[vocabulary.size()];
    this.vocabulary = vocabulary;
    this.encoder = encoder;
    this.file = file;
    this.configFile = configFile;
    this.chatTemplate = Optional.ofNullable(chatTemplate);
  }

  /** A copy that has a chat template of its own. */
  Tokenizer withChatTemplate(String template) {
    return new Tokenizer(vocabulary, encoder, file, configFile, template);
  }

  /**
   * Reads a tokenizer.
   *
   * @param path a folder with {@code tokenizer.json} (and, for the names of special tokens, {@code
   *     tokenizer_config.json}), with SentencePiece's {@code tokenizer.model}, or with {@code
   *     vocab.json} and {@code merges.txt}; or one of the first two; or a GGUF file. A {@code
   *     chat_template.jinja} in the folder belongs to it
   * @throws DataException if there is no tokenizer or it cannot be used
   */
  public static Tokenizer load(Path path) {
    return TokenizerFiles.read(path);
  }

  /**
   * The ids of a text, every character taken literally. An unpaired surrogate, which is no text,
   * becomes a question mark.
   */
  public int[] encode(String text) {
    return encoder.encode(text);
  }

  /**
   * The ids of a text that goes on after another one. Cut between a word and a line's end, as
   * pieces of a long document mostly are, the two have the ids of the whole.
   */
  public int[] encodeContinuation(String text) {
    return encoder.encodeContinuation(text);
  }

  /**
   * The text of ids, without special tokens. Bytes that are not UTF-8 become replacement
   * characters.
   */
  public String decode(int... ids) {
    StreamingDecoder decoder = streamingDecoder();
    StringBuilder text = new StringBuilder();
    for (int id : ids) {
      text.append(decoder.append(id));
    }
    return text.append(decoder.finish()).toString();
  }

  /** A decoder for one sequence of tokens, one by one. */
  public StreamingDecoder streamingDecoder() {
    return new StreamingDecoder(this, vocabulary.dropsLeadingBlank());
  }

  /** The content of {@code tokenizer_config.json}; {@code {}} if there is none. */
  public String configuration() {
    return configFile;
  }

  /** The content of {@code chat_template.jinja}; the configuration may have one, too. */
  public Optional<String> chatTemplate() {
    return chatTemplate;
  }

  /** The content of a {@code tokenizer.json} that says all of it. */
  public String definition() {
    return file.get();
  }

  /** Number of ids: they go from 0 to one less. */
  public int vocabSize() {
    return vocabulary.size();
  }

  /** The id that ends every document in training data, and a generated text. */
  public int endOfDocument() {
    return vocabulary.endOfDocument();
  }

  /** The id before every text, if this tokenizer's models were trained with one. */
  public OptionalInt beginningOfSequence() {
    return vocabulary.beginningOfSequence();
  }

  /**
   * The UTF-8 bytes that a token adds to a text, perhaps part of a character; of a special none.
   */
  public byte[] bytes(int id) {
    return token(id).bytes().clone();
  }

  /** How many UTF-8 bytes a token adds to a text; 0 for special tokens. */
  public int byteLength(int id) {
    return token(id).bytes().length;
  }

  /** A token as text to show: the name of a special token, replacement characters for bytes. */
  public String piece(int id) {
    return token(id).text();
  }

  private Token token(int id) {
    if (id < 0 || id >= vocabSize()) {
      throw new DataException(
          "token %d is outside the tokenizer's vocabulary of %d".formatted(id, vocabSize()));
    }
    Token token = known[id]; // of any thread, and whole
    if (token == null) {
      token = vocabulary.tokens().apply(id);
      known[id] = token;
    }
    return token;
  }

  /**
   * Writes {@code tokenizer.json}, {@code tokenizer_config.json} and, if there is a chat template
   * of its own, {@code chat_template.jinja} in place of those in a folder, made if absent; a
   * tokenizer that was loaded from such files is written as it was read.
   */
  public void save(Path folder) {
    try {
      Files.createDirectories(folder);
      SequencedMap<String, String> contents = new LinkedHashMap<>();
      contents.put(FILE, file.get());
      contents.put(CONFIG_FILE, configFile);
      chatTemplate.ifPresent(template -> contents.put(TEMPLATE_FILE, template));
      for (Map.Entry<String, String> entry : contents.entrySet()) {
        writeBeside(folder.resolve(entry.getKey()), entry.getValue());
      }
      Files.deleteIfExists(folder.resolve(TEMPLATE_FILE));
      for (String name : contents.keySet()) {
        Path target = folder.resolve(name);
        Files.move(temporary(target), target, StandardCopyOption.REPLACE_EXISTING);
      }
    } catch (IOException e) {
      throw new DataException(
          "%s: the tokenizer cannot be written: %s".formatted(folder, DataException.reason(e)), e);
    }
  }

  private static Path temporary(Path target) {
    return target.resolveSibling(target.getFileName() + ".tmp");
  }

  private static void writeBeside(Path target, String content) throws IOException {
    Files.writeString(
        temporary(target),
        content,
        StandardOpenOption.CREATE,
        StandardOpenOption.TRUNCATE_EXISTING,
        StandardOpenOption.WRITE,
        StandardOpenOption.SYNC);
  }
}
