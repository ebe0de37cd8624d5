package org.eellm.spring;

import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.binder.MeterBinder;
import io.micrometer.observation.ObservationRegistry;
import org.eellm.EarlyExitModel;
import org.springframework.ai.chat.client.AdvisorParams;
import org.springframework.ai.chat.client.ChatClientBuilderCustomizer;
import org.springframework.ai.model.SpringAIModelProperties;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.boot.health.autoconfigure.contributor.ConditionalOnEnabledHealthIndicator;
import org.springframework.boot.health.contributor.Health;
import org.springframework.boot.health.contributor.HealthIndicator;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;

/**
 * The beans of an application that names a model by {@code eellm.model}: the model itself, which is
 * loaded at start and closed at the end, chat and embeddings. A bean of the application's own takes
 * the place of each; {@code spring.ai.model.chat} and {@code spring.ai.model.embedding} choose
 * among several providers, of which this is {@code eellm}.
 */
@AutoConfiguration
@ConditionalOnProperty("eellm.model")
@EnableConfigurationProperties(EellmProperties.class)
public class EellmAutoConfiguration {

  @Bean(destroyMethod = "close")
  @ConditionalOnMissingBean
  EarlyExitModel earlyExitModel(EellmProperties properties) {
    return properties.load();
  }

  @Bean
  @ConditionalOnMissingBean
  @ConditionalOnProperty(
      name = SpringAIModelProperties.CHAT_MODEL,
      havingValue = EarlyExitChatModel.PROVIDER,
      matchIfMissing = true)
  EarlyExitChatModel earlyExitChatModel(
      EarlyExitModel model,
      EellmProperties properties,
      ObjectProvider<ObservationRegistry> observations) {
    return new EarlyExitChatModel(
        model,
        properties.chat().decoding(model),
        properties.chat().overflow(),
        observations.getIfUnique(() -> ObservationRegistry.NOOP));
  }

  @Bean
  @ConditionalOnMissingBean
  @ConditionalOnProperty(
      name = SpringAIModelProperties.EMBEDDING_MODEL,
      havingValue = EarlyExitChatModel.PROVIDER,
      matchIfMissing = true)
  EarlyExitEmbeddingModel earlyExitEmbeddingModel(
      EarlyExitModel model, EellmProperties properties) {
    int layer = properties.embedding().layer();
    return new EarlyExitEmbeddingModel(
        model, layer == 0 ? model.layers() : layer, properties.embedding().pooling());
  }

  /** So that {@code ChatClient.entity()} holds answers to the schema, and does not only ask. */
  @Bean
  ChatClientBuilderCustomizer earlyExitStructuredOutput() {
    return client -> client.defaultAdvisors(AdvisorParams.ENABLE_NATIVE_STRUCTURED_OUTPUT);
  }

  @Bean
  MeterBinder eellmMeters(EarlyExitModel model) {
    return registry -> {
      Gauge.builder("eellm.texts.running", () -> model.inUse().running())
          .description("Texts that are being written")
          .register(registry);
      Gauge.builder("eellm.texts.waiting", () -> model.inUse().waiting())
          .description("Texts that wait for room")
          .register(registry);
      Gauge.builder("eellm.cache.tokens", () -> model.inUse().tokens())
          .description("Tokens whose keys and values are kept")
          .register(registry);
    };
  }

  /** For applications with Spring Boot's Actuator. */
  @Configuration(proxyBeanMethods = false)
  @ConditionalOnClass(HealthIndicator.class)
  static class Healthy {

    @Bean
    @ConditionalOnEnabledHealthIndicator("eellm")
    @ConditionalOnMissingBean(name = "eellmHealthIndicator")
    HealthIndicator eellmHealthIndicator(EarlyExitModel model) {
      return () -> {
        EarlyExitModel.Load load = model.inUse();
        return (model.isOpen() ? Health.up() : Health.down())
            .withDetail("model", model.path().toString())
            .withDetail("layers", model.layers())
            .withDetail("exits", model.exits())
            .withDetail("running", load.running())
            .withDetail("waiting", load.waiting())
            .build();
      };
    }
  }
}
