{{/* Labels of everything. `app` is the book's, and the only one that selectors use. */}}
{{- define "sentiment.labels" -}}
app: {{ .Release.Name }}
{{ include "sentiment.commonLabels" . }}
{{- end }}

{{- define "sentiment.commonLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Labels of pods: none that an upgrade of the chart alone would change, since that replaces them. */}}
{{- define "sentiment.podLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A value as text. Helm reads 2097152 as a float, which would print as 2.097152e+06. */}}
{{- define "sentiment.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* What every container of every pod may do: nothing that restricted Pod Security forbids. */}}
{{- define "sentiment.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/*
A secret value: the one that is given, else the one that the cluster has, else a new one. It is
asked for in several places of one rendering, so a new one is remembered in .Values.
Arguments: root, given value, name of the Secret, key.
*/}}
{{- define "sentiment.kept" -}}
{{- $root := index . 0 }}
{{- $given := index . 1 }}
{{- $name := index . 2 }}
{{- $key := index . 3 }}
{{- if not (hasKey $root.Values "kept") }}
  {{- $_ := set $root.Values "kept" dict }}
{{- end }}
{{- if not (hasKey $root.Values.kept $name) }}
  {{- $secret := lookup "v1" "Secret" $root.Release.Namespace $name | default dict }}
  {{- $old := get ($secret.data | default dict) $key | b64dec }}
  {{- $_ := set $root.Values.kept $name ($given | default $old | default (randAlphaNum 32)) }}
{{- end }}
{{- get $root.Values.kept $name }}
{{- end }}

{{- define "sentiment.password" -}}
{{- include "sentiment.kept" (list . .Values.postgresql.password (include "sentiment.databaseSecret" .) "password") }}
{{- end }}

{{- define "sentiment.readToken" -}}
{{- include "sentiment.kept" (list . .Values.readToken.value (include "sentiment.readTokenSecret" .) "token") }}
{{- end }}

{{- define "sentiment.textKey" -}}
{{- include "sentiment.kept" (list . .Values.textKey.value (include "sentiment.textKeySecret" .) "key") }}
{{- end }}

{{/* postgresql, cloudnativepg or external: where the log is. */}}
{{- define "sentiment.databaseKind" -}}
{{- if not .Values.postgresql.enabled }}external
{{- else if .Values.postgresql.cloudNativePG.enabled }}cloudnativepg
{{- else }}postgresql
{{- end }}
{{- end }}

{{/* The Secret whose key `uri` is DATABASE_URL. */}}
{{- define "sentiment.databaseSecret" -}}
{{- $kind := include "sentiment.databaseKind" . }}
{{- if eq $kind "cloudnativepg" }}
  {{- .Values.postgresql.name }}-app
{{- else if .Values.database.existingSecret }}
  {{- .Values.database.existingSecret }}
{{- else if eq $kind "external" }}
  {{- fail "postgresql.enabled is false: set database.existingSecret to a Secret that has the database's address under the key uri." }}
{{- else }}
  {{- .Release.Name }}-database
{{- end }}
{{- end }}

{{- define "sentiment.readTokenSecret" -}}
{{- .Values.readToken.existingSecret | default (printf "%s-read-token" .Release.Name) }}
{{- end }}

{{- define "sentiment.textKeySecret" -}}
{{- .Values.textKey.existingSecret | default (printf "%s-text-key" .Release.Name) }}
{{- end }}

{{/* Whether the server has a text key. */}}
{{- define "sentiment.hasTextKey" -}}
{{- with .Values }}
{{- if or (eq .recordText "hash") .textKey.value .textKey.existingSecret }}true{{ end }}
{{- end }}
{{- end }}

{{/* Whether this chart makes the database's Secret. */}}
{{- define "sentiment.makesDatabaseSecret" -}}
{{- if and (eq (include "sentiment.databaseKind" .) "postgresql") (not .Values.database.existingSecret) }}true{{ end }}
{{- end }}

{{/* The data of a Secret that is in the cluster already, to roll the pods when it has changed.
Arguments: root, name. */}}
{{- define "sentiment.secretInCluster" -}}
{{- $secret := lookup "v1" "Secret" (index . 0).Release.Namespace (index . 1) | default dict }}
{{- $secret.data | default dict | toJson }}
{{- end }}

{{- define "sentiment.databaseChecksum" -}}
{{- if include "sentiment.makesDatabaseSecret" . }}
  {{- include "sentiment.uri" . | sha256sum }}
{{- else }}
  {{- include "sentiment.secretInCluster" (list . (include "sentiment.databaseSecret" .)) | sha256sum }}
{{- end }}
{{- end }}

{{- define "sentiment.readTokenChecksum" -}}
{{- if .Values.readToken.existingSecret }}
  {{- include "sentiment.secretInCluster" (list . .Values.readToken.existingSecret) | sha256sum }}
{{- else }}
  {{- include "sentiment.readToken" . | sha256sum }}
{{- end }}
{{- end }}

{{- define "sentiment.textKeyChecksum" -}}
{{- if .Values.textKey.existingSecret }}
  {{- include "sentiment.secretInCluster" (list . .Values.textKey.existingSecret) | sha256sum }}
{{- else }}
  {{- include "sentiment.textKey" . | sha256sum }}
{{- end }}
{{- end }}

{{- define "sentiment.uri" -}}
{{- $user := .Values.postgresql.user | urlquery | replace "+" "%20" }}
{{- $password := include "sentiment.password" . | urlquery | replace "+" "%20" }}
{{- $db := .Values.postgresql.db | urlquery | replace "+" "%20" }}
{{- printf "postgresql://%s:%s@%s:5432/%s" $user $password .Values.postgresql.name $db }}
{{- end }}

{{/* claim, hub or image: where the model comes from. */}}
{{- define "sentiment.modelSource" -}}
{{- with .Values.model }}
{{- if .existingClaim }}claim
{{- else if or (not .id) (eq .id "bundled") (hasPrefix "/" .id) }}image
{{- else }}hub
{{- end }}
{{- end }}
{{- end }}

{{/* Which model, for the containers that need it; nothing where it is the image's own. */}}
{{- define "sentiment.modelEnv" -}}
{{- $source := include "sentiment.modelSource" . }}
{{- with .Values.model }}
{{- if or .id .existingClaim }}
{{- $folder := printf "/models/%s" .path | trimSuffix "/" }}
- {name: SENTIMENT_MODEL, value: {{ eq $source "claim" | ternary $folder .id | quote }}}
# Also where they are empty: an image with a model of its own may have them set.
- {name: SENTIMENT_REVISION, value: {{ .revision | quote }}}
- {name: SENTIMENT_MODEL_FILE, value: {{ .file | quote }}}
{{- end }}
{{- if eq $source "hub" }}
- {name: HF_HOME, value: /models}
{{- end }}
{{- end }}
{{- end }}

{{- define "sentiment.databaseEnv" -}}
- name: DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ include "sentiment.databaseSecret" . }}, key: uri}}
{{- end }}

{{/* Where rows wait while PostgreSQL is away. In a shared claim each pod has its folder; it sees the
others', so that it can adopt those whose pods are gone. */}}
{{- define "sentiment.spoolEnv" -}}
{{- $folder := "/var/spool/sentiment" }}
{{- if eq .Values.spool.mode "strict" }}
- {name: SENTIMENT_SPOOL, value: strict}
{{- else }}
- {name: SENTIMENT_SPOOL_MAX_BYTES, value: {{ int64 .Values.spool.maxBytes | quote }}}
{{- if eq .Values.spool.mode "claim" }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- {name: SENTIMENT_SPOOL_DIR, value: {{ $folder }}/$(POD_NAME)}
- {name: SENTIMENT_SPOOL_ADOPT, value: "true"}
{{- else }}
- {name: SENTIMENT_SPOOL_DIR, value: {{ $folder }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "sentiment.spoolClaim" -}}
{{- .Values.spool.claim.existingClaim | default (printf "%s-spool" .Release.Name) }}
{{- end }}

{{/* The ways to PostgreSQL and to DNS, as a NetworkPolicy's egress. */}}
{{- define "sentiment.databaseEgress" -}}
{{- $kind := include "sentiment.databaseKind" . -}}
# DNS by port only: clusters answer it from pods, from the node or from a cache on the node.
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- if eq $kind "external" }}
- ports: [{port: {{ .Values.database.port }}}]
  {{- with .Values.networkPolicy.databaseTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- else }}
- ports: [{port: 5432}]
  to:
    - podSelector:
        matchLabels:
          {{- if eq $kind "cloudnativepg" }}
          cnpg.io/cluster: {{ .Values.postgresql.name }}
          {{- else }}
          app: {{ .Values.postgresql.name }}
          {{- end }}
{{- end }}
{{- end }}
