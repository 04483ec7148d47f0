{{- define "headrace.labels" -}}
app.kubernetes.io/name: headrace
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}
{{- define "headrace.metadata" -}}
metadata:
  name: {{ printf "%s-%s" .root.Release.Name .part | trunc 63 | trimSuffix "-" }}
  labels:
    {{- include "headrace.labels" . | nindent 4 }}
    app.kubernetes.io/managed-by: {{ .root.Release.Service }}
    app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
    helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}
{{- define "headrace.deployment" -}}
apiVersion: apps/v1
kind: Deployment
{{ include "headrace.metadata" . }}
spec:
  {{- if ne .part "scoring" }}
  replicas: {{ .values.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "headrace.labels" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels:
        {{- include "headrace.labels" . | nindent 8 }}
      {{- with .root.Values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ printf "%s-headrace" .root.Release.Name | trunc 63 | trimSuffix "-" }}
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 60
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        fsGroup: 65532
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: {{ .part }}
          image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag }}"
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args:
            {{- toYaml .arguments | nindent 12 }}
          envFrom:
            - secretRef: {name: {{ .root.Values.secret | quote }}}
          {{- if or .root.Values.keysSecret .values.workspace }}
          env:
            {{- if .root.Values.keysSecret }}
            - {name: HEADRACE_KEYS, value: /etc/headrace/keys}
            {{- end }}
            {{- with .values.workspace }}
            - {name: HEADRACE_WORKSPACE, value: {{ . | quote }}}
            {{- end }}
          {{- end }}
          {{- if .port }}
          ports:
            - {name: http, containerPort: {{ .port }}}
          startupProbe:
            {{- toYaml .probe | nindent 12 }}
            periodSeconds: 2
            failureThreshold: 60
          readinessProbe:
            {{- toYaml .probe | nindent 12 }}
            periodSeconds: 5
            timeoutSeconds: 3
          livenessProbe:
            {{- toYaml .probe | nindent 12 }}
            periodSeconds: 20
            timeoutSeconds: 5
          {{- end }}
          resources:
            requests: {cpu: {{ .values.cpu | quote }}, memory: {{ .values.memory | quote }}}
            limits: {memory: {{ .values.memory | quote }}}
          securityContext:
            runAsUser: 65532
            runAsNonRoot: true
            readOnlyRootFilesystem: true
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: home, mountPath: /var/lib/headrace}
            - {name: tmp, mountPath: /tmp}
            {{- if .root.Values.keysSecret }}
            - {name: keys, mountPath: /etc/headrace/keys, readOnly: true}
            {{- end }}
      volumes:
        - name: home
          emptyDir: {}
        - name: tmp
          emptyDir: {}
        {{- if .root.Values.keysSecret }}
        - name: keys
          secret: {secretName: {{ .root.Values.keysSecret | quote }}, defaultMode: 0440}
        {{- end }}
      {{- with .root.Values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .root.Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
{{- define "headrace.service" -}}
apiVersion: v1
kind: Service
{{ include "headrace.metadata" . }}
spec:
  selector:
    {{- include "headrace.labels" . | nindent 4 }}
  ports:
    - {name: http, port: 80, targetPort: http}
{{- end }}
