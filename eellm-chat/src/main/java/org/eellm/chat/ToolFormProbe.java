package org.eellm.chat;

import java.util.List;
import java.util.Optional;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.eellm.chat.tool.Tool;
import org.eellm.chat.tool.ToolCall;
import org.eellm.chat.tool.ToolForm;

/** Finds the form of calls that a template knows, by a chat whose words can be found again. */
record ToolFormProbe(ChatTemplate template) {
  private static final String TOOL = "toolname";
  private static final String ID = "callid00";
  private static final String TEXT = "answertext";
  private static final String RESULT = "toolresult";
  private static final String ARGUMENTS = "{\"toolkey\": \"toolvalue\"}";

  private static final Pattern WRITTEN =
      Pattern.compile("\\{\\s*\"toolkey\"\\s*:\\s*\"toolvalue\"\\s*\\}");

  /** An id in a call's object, which models do not write themselves. */
  private static final Pattern WRITTEN_ID =
      Pattern.compile(
          "\"id\"\\s*:\\s*\"%1$s\\d\"\\s*,\\s*|\\s*,\\s*\"id\"\\s*:\\s*\"%1$s\\d\"".formatted(ID));

  private static final ChatMessage QUESTION = new ChatMessage("user", "question", Optional.empty());

  private static final List<Tool> TOOLS =
      List.of(new Tool(TOOL + 2, "tooldescription", Tool.noParameters()));

  /** The form, if the template writes tools, calls and results, each argument as JSON. */
  Optional<ToolForm> find() {
    return IntStream.range(0, 4)
        .mapToObj(i -> form(i >= 2, i % 2 == 0 ? TEXT : ""))
        .flatMap(Optional::stream)
        .findFirst();
  }

  private Optional<ToolForm> form(boolean asSent, String content) {
    String prompt = render(List.of(QUESTION), asSent, true);
    String one = render(List.of(QUESTION, answer(content, 1)), asSent, false);
    String result = render(List.of(QUESTION, answer(content, 1), result()), asSent, true);
    int name = one.indexOf(TOOL + 0);
    Matcher arguments = WRITTEN.matcher(one);
    if (!prompt.contains(TOOL + 2)
        || !result.contains(RESULT)
        || name < 0
        || !arguments.find(name)
        || !content.isEmpty() && !one.substring(0, name).contains(TEXT)) {
      return Optional.empty();
    }
    int begin = content.isEmpty() ? common(prompt, one) : one.indexOf(TEXT) + TEXT.length();
    String opening = one.substring(begin, name).stripLeading();
    String middle = one.substring(name + TOOL.length() + 1, arguments.start());
    String closing = closing(one.substring(arguments.end()));
    String text = opening + middle + closing;
    if (opening.isEmpty() || middle.isEmpty() || text.contains(ID) || text.contains(TOOL)) {
      return Optional.empty();
    }
    String separator = separator(content, asSent, opening + TOOL + 0 + middle);
    return Optional.of(new ToolForm(opening, middle, separator, closing, asSent));
  }

  private String separator(String content, boolean asSent, String first) {
    String two = render(List.of(QUESTION, answer(content, 2)), asSent, false);
    Matcher arguments = WRITTEN.matcher(two);
    int name = two.indexOf(TOOL + 1);
    return two.contains(first) && arguments.find(two.indexOf(first)) && name > arguments.end()
        ? two.substring(arguments.end(), name)
        : "";
  }

  /** Without the special token that ends an answer. */
  private String closing(String rest) {
    Optional<MatchResult> end =
        template.specials(rest).reversed().stream()
            .findFirst()
            .filter(last -> rest.substring(last.end()).isBlank());
    return end.map(last -> rest.substring(0, last.start())).orElse(rest).stripTrailing();
  }

  private static int common(String one, String other) {
    int length = 0;
    while (length < one.length()
        && length < other.length()
        && one.charAt(length) == other.charAt(length)) {
      length++;
    }
    while (length < one.length() && length > 0 && !Character.isWhitespace(one.charAt(length - 1))) {
      length--; // a word that differs is not the prompt's
    }
    return length;
  }

  private static ChatMessage answer(String content, int calls) {
    return ChatMessage.calling(
        content,
        IntStream.range(0, calls)
            .mapToObj(i -> new ToolCall(ID + i, TOOL + i, ARGUMENTS))
            .toList());
  }

  private static ChatMessage result() {
    return new ChatMessage("tool", RESULT, Optional.of(TOOL + 0), List.of(), ID + 0);
  }

  private String render(List<ChatMessage> messages, boolean asSent, boolean answers) {
    return WRITTEN_ID.matcher(template.probe(messages, TOOLS, asSent, answers)).replaceAll("");
  }
}
