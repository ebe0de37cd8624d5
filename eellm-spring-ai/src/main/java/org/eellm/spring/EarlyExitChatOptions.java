package org.eellm.spring;

import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.springframework.ai.chat.prompt.ChatOptions;
import org.springframework.ai.model.tool.DefaultToolCallingChatOptions;
import org.springframework.ai.model.tool.StructuredOutputChatOptions;
import org.springframework.ai.model.tool.ToolCallingChatOptions;

/**
 * What a request may say of its answer; what it leaves out is as the chat model's decoding has it.
 * {@link #getModel} is the name of one of the model's adapters. Tools can be said, so that {@link
 * EarlyExitChatModel} can refuse them: of other options, Spring AI would leave them out silently.
 */
public final class EarlyExitChatOptions extends DefaultToolCallingChatOptions
    implements StructuredOutputChatOptions {
  private final @Nullable String outputSchema;

  private EarlyExitChatOptions(ToolCallingChatOptions all, @Nullable String outputSchema) {
    super(
        all.getToolCallbacks(),
        all.getToolContext(),
        all.getModel(),
        all.getFrequencyPenalty(),
        all.getMaxTokens(),
        all.getPresencePenalty(),
        all.getStopSequences(),
        all.getTemperature(),
        all.getTopK(),
        all.getTopP());
    this.outputSchema = outputSchema;
  }

  /** Options that say nothing yet. */
  public static Builder builder() {
    return new Builder();
  }

  /** A JSON Schema that the answer is held to: no other text can be written. */
  @Override
  public @Nullable String getOutputSchema() {
    return outputSchema;
  }

  @Override
  public Builder mutate() {
    return new Builder().combineWith(super.mutate()).outputSchema(outputSchema);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return super.equals(other)
        && other instanceof EarlyExitChatOptions options
        && Objects.equals(outputSchema, options.outputSchema);
  }

  @Override
  public int hashCode() {
    return Objects.hash(super.hashCode(), outputSchema);
  }

  /** Makes {@link EarlyExitChatOptions}. */
  public static final class Builder extends DefaultToolCallingChatOptions.Builder<Builder>
      implements StructuredOutputChatOptions.Builder<Builder> {
    private @Nullable String outputSchema;

    private Builder() {}

    @Override
    public Builder outputSchema(@Nullable String schema) {
      outputSchema = schema;
      return this;
    }

    @Override
    public Builder combineWith(ChatOptions.Builder<?> other) {
      super.combineWith(other);
      if (other.build() instanceof StructuredOutputChatOptions options
          && options.getOutputSchema() != null) {
        outputSchema = options.getOutputSchema();
      }
      return this;
    }

    @Override
    public EarlyExitChatOptions build() {
      return new EarlyExitChatOptions(super.build(), outputSchema);
    }
  }
}
