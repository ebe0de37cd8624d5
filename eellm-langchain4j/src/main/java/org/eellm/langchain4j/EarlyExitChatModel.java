package org.eellm.langchain4j;

import dev.langchain4j.model.chat.Capability;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.response.ChatResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.eellm.Decoding;
import org.eellm.EarlyExitModel;
import org.eellm.Generation;
import org.eellm.chat.Overflow;
import org.eellm.chat.tool.ToolReader.Part;

/**
 * A model that answers chats, in the form of its own chat template; a model without one continues a
 * plain dialogue. Threads may share it: all answers are written in one batch.
 *
 * <p>What a request says of sampling, length and stop texts goes before the decoding given here.
 * Calls of tools, and answers in JSON, are held to their schemas; a model's name is ignored.
 */
public final class EarlyExitChatModel implements ChatModel {
  private final ChatTexts texts;

  /** One that refuses chats that do not fit the model's context. */
  public EarlyExitChatModel(EarlyExitModel model, Decoding decoding) {
    this(model, decoding, Overflow.REFUSE);
  }

  /**
   * @param model borrowed; nothing here closes it
   * @param decoding where a request says nothing else
   * @param overflow what becomes of chats that do not fit the model's context
   */
  public EarlyExitChatModel(EarlyExitModel model, Decoding decoding, Overflow overflow) {
    texts = new ChatTexts(model, decoding, overflow);
  }

  @Override
  public ChatResponse doChat(ChatRequest request) {
    ChatTexts.Answer answer = texts.answer(request);
    try (Generation text = answer.text()) {
      List<Part> parts = new ArrayList<>(answer.parts(text.text()));
      parts.addAll(answer.rest());
      return ChatTexts.response(text.completion(), parts);
    }
  }

  @Override
  public Set<Capability> supportedCapabilities() {
    return Set.of(Capability.RESPONSE_FORMAT_JSON_SCHEMA);
  }
}
