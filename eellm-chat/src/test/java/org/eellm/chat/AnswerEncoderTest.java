package org.eellm.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.eellm.data.CountedTokens;
import org.eellm.data.Progress;
import org.eellm.data.corpus.Chat;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Chats to learn answers from: what is context, and what counts. */
final class AnswerEncoderTest {
  private static final String CHATML =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
          + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

  /** As Qwen 3: thoughts, if none an empty one, stand in the last answer alone. */
  private static final String THINKING =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n"
          + "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
          + "{{ m.content }}<|im_end|>\n{% endfor %}"
          + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

  @TempDir private Path folder;
  private Tokenizer tokenizer;

  /** A tokenizer with the special tokens of ChatML; {@code <|im_end|>} ends documents, too. */
  @BeforeEach
  void makeTokenizer() throws IOException {
    BpeTrainer.train(
            Corpus.of(List.of("the cat and the dog and the bird and the cat and the end\n")),
            264,
            1,
            Progress.NONE)
        .save(folder);
    ObjectMapper json = new ObjectMapper();
    ObjectNode root = (ObjectNode) json.readTree(folder.resolve("tokenizer.json").toFile());
    ArrayNode added = (ArrayNode) root.get("added_tokens");
    int next = 264;
    for (String name : List.of("<|im_start|>", "<|im_end|>")) {
      added.add(((ObjectNode) added.get(0).deepCopy()).put("id", next++).put("content", name));
    }
    json.writeValue(folder.resolve("tokenizer.json").toFile(), root);
    Files.writeString(folder.resolve("tokenizer_config.json"), "{\"eos_token\": \"<|im_end|>\"}");
    tokenizer = Tokenizer.load(folder);
  }

  private static ChatMessage message(String role, String content) {
    return new ChatMessage(role, content, Optional.empty());
  }

  private static final List<ChatMessage> CHAT =
      List.of(
          message("system", "the end"),
          message("user", "the <|im_end|> cat"),
          message("assistant", "the dog"),
          message("user", "and?"),
          message("assistant", "the bird"));

  private CountedTokens encode(String template, List<ChatMessage> messages) {
    return encode(ChatTemplate.of(template, "", "<|im_end|>", tokenizer), messages, 1);
  }

  /** The tokens of a chat of which the last answers count. */
  private CountedTokens encode(ChatTemplate template, List<ChatMessage> messages, int from) {
    List<Chat.Message> said = new ArrayList<>();
    for (ChatMessage message : messages) {
      said.add(
          new Chat.Message(
              message.role(),
              message.content(),
              message.name(),
              message.role().equals("assistant") && said.size() >= from));
    }
    return new AnswerEncoder(template, tokenizer).encode(new Chat(said, "chats.jsonl:1"));
  }

  /** The text, with what counts in braces. */
  private String shown(CountedTokens tokens) {
    StringBuilder text = new StringBuilder();
    boolean inside = false;
    for (int i = 0; i < tokens.ids().length; i++) {
      if (tokens.counted()[i] != inside) {
        text.append(inside ? "}" : "{");
        inside = !inside;
      }
      text.append(tokenizer.piece(tokens.ids()[i]));
    }
    return text.append(inside ? "}" : "").toString();
  }

  @Test
  void encode_chat_countsAnswersWithTheirEnds() {
    CountedTokens tokens = encode(CHATML, CHAT);

    assertThat(shown(tokens))
        .isEqualTo(
            "<|im_start|>system\n"
                + "the end<|im_end|>\n"
                + "<|im_start|>user\n"
                + "the <|im_end|> cat<|im_end|>\n"
                + "<|im_start|>assistant\n"
                + "{the dog<|im_end|>}\n"
                + "<|im_start|>user\n"
                + "and?<|im_end|>\n"
                + "<|im_start|>assistant\n"
                + "{the bird<|im_end|>}\n"
                + "<|im_end|>");
    // What somebody said is no special token: of these there are one a message, and the last.
    assertThat(Arrays.stream(tokens.ids()).filter(id -> id == tokenizer.endOfDocument()))
        .hasSize(6);
  }

  @Test
  void encode_chat_hasTheIdsThatAModelIsAskedWith() {
    ChatTemplate template = ChatTemplate.of(CHATML, "", "<|im_end|>", tokenizer);
    CountedTokens tokens = encode(CHATML, CHAT);

    int first = 0;
    while (!tokens.counted()[first]) {
      first++;
    }
    List<Integer> asked = template.encode(CHAT.subList(0, 2), tokenizer);
    List<Integer> ids = new ArrayList<>();
    for (int i = 0; i < first; i++) {
      ids.add(tokens.ids()[i]);
    }
    assertThat(ids).isEqualTo(asked);
  }

  /** As of Llama 2: pairs of characters, a word with the blank before it. */
  private static Tokenizer ofPieces(Path folder) throws IOException {
    ObjectMapper json = new ObjectMapper();
    ObjectNode file = json.createObjectNode();
    file.putArray("added_tokens")
        .addObject()
        .put("id", 0)
        .put("content", "</s>")
        .put("special", true);
    ObjectNode normalizer = file.putObject("normalizer").put("type", "Sequence");
    ArrayNode normalizers = normalizer.putArray("normalizers");
    normalizers.addObject().put("type", "Prepend").put("prepend", "\u2581");
    ObjectNode replace = normalizers.addObject().put("type", "Replace").put("content", "\u2581");
    replace.putObject("pattern").put("String", " ");
    ArrayNode decoders = file.putObject("decoder").put("type", "Sequence").putArray("decoders");
    ObjectNode back = decoders.addObject().put("type", "Replace").put("content", " ");
    back.putObject("pattern").put("String", "\u2581");
    decoders.addObject().put("type", "Fuse");
    decoders.addObject().put("type", "Strip").put("content", " ").put("start", 1).put("stop", 0);
    ObjectNode model = file.putObject("model").put("type", "BPE");
    ObjectNode vocabulary = model.putObject("vocab").put("</s>", 0);
    "\u2581[]\n?abcdefghijklmnopqrstuvwxyz"
        .chars()
        .forEach(letter -> vocabulary.put(Character.toString(letter), vocabulary.size()));
    ArrayNode merges = model.putArray("merges");
    for (String pair : List.of("t h", "th e", "\u2581 the")) {
      vocabulary.put(pair.replace(" ", ""), vocabulary.size());
      merges.add(pair);
    }
    json.writeValue(folder.resolve("tokenizer.json").toFile(), file);
    return Tokenizer.load(folder);
  }

  @Test
  void encode_tokenizerThatPutsABlankBeforeTexts_hasTheTemplatesText() throws IOException {
    tokenizer = ofPieces(Files.createDirectory(folder.resolve("pieces")));
    String template =
        "{% for m in messages %}[{{ m.role }}]\n{{ m.content }}\n{% endfor %}"
            + "{% if add_generation_prompt %}[assistant]\n{% endif %}";
    CountedTokens tokens =
        encode(
            ChatTemplate.of(template, "", "</s>", tokenizer),
            List.of(
                message("user", "the end?"),
                message("assistant", "the cat"),
                message("user", " the"),
                message("assistant", " the dog")),
            1);

    assertThat(tokenizer.decode(tokens.ids()))
        .isEqualTo("[user]\nthe end?\n[assistant]\nthe cat\n[user]\n the\n[assistant]\n the dog\n");
    assertThat(shown(tokens))
        .contains("[assistant]\n{the cat\n}[user]", "[assistant]\n{ the dog\n</s>}");
  }

  @Test
  void encode_thoughtsInTheLastAnswerAlone_findsTheOthers() {
    assertThat(shown(encode(THINKING, CHAT)))
        .contains("<|im_start|>assistant\n{the dog<|im_end|>}\n<|im_start|>user")
        .contains("<|im_start|>assistant\n{<think>\n\n</think>\n\nthe bird<|im_end|>}\n");
  }

  /** As Phi 3 and 4: the token that ends documents stands behind all, another behind each. */
  @Test
  void encode_templateThatEndsTheWholeChatWithAToken_countsTheAnswersEnds() {
    String phi =
        CHATML.replace("{% endif %}", "{% else %}{{ eos_token }}{% endif %}").replace("\n", "");
    ChatTemplate template = ChatTemplate.of(phi, "", "<|im_start|>", tokenizer);

    assertThat(shown(encode(template, CHAT, 1)))
        .contains("assistant{the dog<|im_end|>}<|im_start|>user")
        .endsWith("assistant{the bird<|im_end|>}<|im_start|><|im_end|>");
    assertThat(shown(encode(template, CHAT.subList(0, 4), 1)))
        .contains("assistant{the dog<|im_end|>}<|im_start|>userand?<|im_end|><|im_start|>");
  }

  /** As OLMo 3: an answer at the end has another token than earlier ones. */
  @Test
  void encode_templateThatEndsTheLastAnswerOtherwise_countsTheAnswersEnds() {
    String olmo =
        "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content | trim }}"
            + "{% if m.role == 'assistant' and loop.last %}{{ eos_token }}{% else %}<|im_end|>"
            + "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant "
            + "{% endif %}";
    ChatTemplate template = ChatTemplate.of(olmo, "", "<|im_start|>", tokenizer);
    String counted = "assistant {the dog<|im_end|>}<|im_start|>user and?<|im_end|>";

    assertThat(shown(encode(template, CHAT, 1)))
        .contains(counted)
        .endsWith("assistant {the bird<|im_start|>}<|im_end|>");
    assertThat(shown(encode(template, CHAT.subList(0, 4), 1))).contains(counted);
  }

  @Test
  void encode_answersThatNothingEndsButTheLast_areRefused() {
    String open =
        "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}{% endfor %}"
            + "{% if add_generation_prompt %}<|im_start|>assistant "
            + "{% else %}{{ eos_token }}{% endif %}";
    ChatTemplate template = ChatTemplate.of(open, "", "<|im_end|>", tokenizer);
    assertThatThrownBy(() -> encode(template, CHAT, 1))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageStartingWith("messages[2]: the chat template writes this answer");
    assertThat(shown(encode(template, CHAT, 3))).endsWith("assistant {the bird<|im_end|>}");
  }

  @Test
  void encode_answerThatIsNotToBeLearned_isContext() {
    CountedTokens tokens = encode(ChatTemplate.of(CHATML, "", "<|im_end|>", tokenizer), CHAT, 3);
    assertThat(shown(tokens))
        .contains("<|im_start|>assistant\nthe dog<|im_end|>\n")
        .contains("<|im_start|>assistant\n{the bird<|im_end|>}\n");
  }

  /** As models that always think have it: they are asked with a thought's beginning. */
  @Test
  void encode_promptWithMoreThanAnAnswerBeginsWith_isRefusedForThat() {
    String thinks = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}");
    assertThatThrownBy(() -> encode(thinks, CHAT.subList(0, 3)))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessage(
            "messages[2]: the chat template's generation prompt is not how it begins this answer;"
                + " use a template whose prompt is");
  }

  @Test
  void encode_plainDialogue_countsTheEndOfTheLastAnswer() {
    ChatTemplate plain = ChatTemplate.of(tokenizer);
    CountedTokens tokens = encode(plain, CHAT.subList(2, 5).reversed().subList(0, 3), 0);
    assertThat(plain.description()).contains("no chat template");
    assertThat(shown(tokens))
        .startsWith("Assistant:{ the bird\n}User: and?\nAssistant:{ the dog\n");
    assertThat(shown(tokens)).endsWith("<|im_end|>}");
  }

  @Test
  void encode_answerThatCannotBeFound_isRefused() {
    // The system's message is put before the last question, as Mistral's template does.
    String moved =
        "{% for m in messages %}{% if m.role == 'user' %}"
            + "{% if loop.index0 >= messages | length - 2 %}{{ messages[0].content }}{% endif %}"
            + "[{{ m.content }}]{% elif m.role == 'assistant' %}{{ m.content }};{% endif %}"
            + "{% endfor %}";
    assertThatThrownBy(() -> encode(moved, CHAT))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageStartingWith("messages[2]: the chat template writes this answer");
    assertThat(shown(encode(moved, CHAT.subList(0, 3))))
        .isEqualTo("the end[the <|im_end|> cat]{the dog;<|im_end|>}");
  }

  @Test
  void encode_formsOfTheFamilies_countTheAnswersOfEach() throws IOException {
    JsonNode cases =
        new ObjectMapper()
            .readTree(AnswerEncoderTest.class.getResourceAsStream("/golden/chat_templates.json"));
    List<String> counted = new ArrayList<>();
    for (JsonNode golden : cases) {
      if (golden.path("name").asText().equals("macro")) {
        continue; // shows the last message again at the end, as no model's template does
      }
      String shown =
          shown(
              encode(
                  golden.path("template").asText(),
                  List.of(message("user", "a cat"), message("assistant", "a dog"))));
      counted.add(golden.path("name").asText() + shown.substring(shown.indexOf('{')));
    }
    assertThat(counted)
        .hasSizeGreaterThan(8)
        .allSatisfy(text -> assertThat(text).contains("a dog").doesNotContain("cat"));
  }
}
